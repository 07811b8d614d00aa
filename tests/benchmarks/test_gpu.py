"""The benchmark of one accelerator runs whole on the CPU, with a tiny model."""

import sys

from benchmarks import gpu


def test_every_part_runs_on_the_cpu(monkeypatch, capsys):
    command = ["gpu", "--shape", "tiny", "--rows", "8", "--tokens", "4", "--minutes", "60"]
    monkeypatch.setattr(sys, "argv", command)
    gpu.main()
    lines = capsys.readouterr().out.splitlines()
    assert not [line for line in lines if "failed" in line or "left out" in line]
    for begins in (
        "tiny on cpu: ",
        "generation, transformers, float32: ",
        "generation, rbr, float32: ",
        "grading, heads: ",
        "grading, yes/no questions: ",
        "SFT: ",
        "GRPO of TRL: ",
        "PPO: ",
    ):
        assert any(line.startswith(begins) for line in lines), begins
    assert lines[-1].endswith("x TRL's GRPO")


def test_parts_without_time_are_named(monkeypatch, capsys):
    command = ["gpu", "--shape", "tiny", "--rows", "8", "--tokens", "4", "--minutes", "0"]
    monkeypatch.setattr(sys, "argv", command)
    gpu.main()
    out = capsys.readouterr().out
    assert "SFT: left out, no time" in out
    assert "tokens/s" not in out
