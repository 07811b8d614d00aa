"""The library runs where nothing of the pipeline is installed."""

import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import importlib, pkgutil, sys
from pathlib import Path

ABSENT = ("dagster", "mlflow", "dvc", "great_expectations", "vllm", "ray", "grimp", "matplotlib", "openai",
          "fastapi", "starlette", "uvicorn", "boto3", "gguf", "tenacity", "psycopg2", "supervisor")
# Of what another program asks for, by its nature.
OF_OTHERS = ("rbr.scorers", "rbr.serve")


class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *rest):
        if name.partition(".")[0].startswith(ABSENT):
            return None
        return self.finder.find_spec(name, *rest)

    def __getattr__(self, name):
        return getattr(self.finder, name)


sys.meta_path[:] = map(Without, sys.meta_path)
import rbr

for module in pkgutil.walk_packages(rbr.__path__, "rbr."):
    if not module.name.startswith(OF_OTHERS):
        importlib.import_module(module.name)

from rbr.data.rows import HelpfulPrompt, Message, Preference
from rbr.models.tiny import make_tiny
from rbr.rules import load_rules
from rbr.training.options import RewardModelOptions, RLOptions
from rbr.training.policy import train_policy
from rbr.training.reward_model import RewardModel, train_reward_model

work = Path(sys.argv[1])
assert load_rules(Path("rules")).proposition_names
tiny = make_tiny(work / "tiny", ["how do I open a lock", "sorry"])
talks = [(Message(role="user", content=f"lock {i}"),) for i in range(4)]
pairs = [
    Preference(id=f"p{i}", family="f", conversation=talk, chosen="yes it is", rejected="no")
    for i, talk in enumerate(talks)
]
options = RewardModelOptions(layers=2, trained_layers=1, batch_size=4, epochs=1)
train_reward_model(tiny, pairs, work / "rm-run", work / "rm", options, 0)
scorer = RewardModel(work / "rm")


def reward(prompts, completions, **_):
    return [float(x) for x in scorer.score(talks[:1] * len(completions), [str(c) for c in completions])]


prompts = [HelpfulPrompt(id=f"h{i}", family="f", conversation=talk) for i, talk in enumerate(talks)]
rl = RLOptions(steps=1, prompts_per_step=4, max_new_tokens=4, trained_layers=1)
train_policy(tiny, [], prompts, reward, work / "run", work / "ppo", rl, 0)
found = sorted({name.partition(".")[0] for name in sys.modules} & set(ABSENT))
assert not found, found
print("trained")
"""


def test_the_library_trains_without_the_pipelines_packages(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip().endswith("trained"), done.stderr[-3000:]
