"""What Dagster shows of a training's samples."""

from orchestration.metadata import SAMPLES, samples_table
from rbr.files import write_rows


def sample(rollout, **values):
    row = {"rollout": rollout, "response_type": "comply", "prompt": "q", "completion": "a | b"}
    return {**row, "reward": 1.25, **values}


def test_the_samples_of_the_last_rollout_are_shown_with_their_parts_the_largest_first(tmp_path):
    parts = {"reward_model": 0.5, "contributions": {"small": -0.25, "large": 1.0}, "kl": 2.0}
    last = sample(8, **parts, completion_class="ideal")
    path = tmp_path / "samples.jsonl"
    write_rows(path, [sample(4), *[last] * (SAMPLES + 1)])
    records = samples_table(path).records
    assert len(records) == SAMPLES
    assert records[0].data == {
        "prompt": "q",
        "completion": "a | b",
        "type": "comply",
        "class": "ideal",
        "reward": "+1.250",
        "R_rm": "+0.500",
        "KL": "+2.000",
        "contributions": "+1.000 large, -0.250 small",
    }


def test_samples_without_parts_are_shown_with_their_rewards(tmp_path):
    path = tmp_path / "samples.jsonl"
    write_rows(path, [sample(4, response_type=None)])
    [record] = samples_table(path).records
    assert (record.data["reward"], record.data["R_rm"], record.data["contributions"]) == (
        "+1.250",
        "",
        "",
    )
