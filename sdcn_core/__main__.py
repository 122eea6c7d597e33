"""`python -m sdcn_core train --preset tiny`: the trainer with no service around it.

Exit codes: 0 trained, 1 the input or the training failed (one sentence says why), 2 the command line is wrong.
"""

import argparse
import json
import logging
import os
import shutil
import sys
import time
from pathlib import Path

from pydantic import ValidationError

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.methods import METHODS
from sdcn_core.config.presets import PRESETS, preset
from sdcn_core.errors import SdcnError


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        experiment = _experiment(options)
    except (ValueError, OSError) as error:
        print(f"sdcn_core: {_sentence(error)}", file=sys.stderr)
        return 2
    if options.show:
        print(experiment.model_dump_json(indent=2))
        return 0
    try:
        return _train(experiment, options)
    except SdcnError as error:
        print(f"sdcn_core: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sdcn_core", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train and judge one experiment on this machine")
    chosen = train.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--preset", choices=PRESETS, help="a named experiment")
    chosen.add_argument("--experiment", type=Path, help="a JSON file with the fields of an experiment")
    train.add_argument(
        "--method", choices=METHODS, help="make it WSDDN, OICR, SDCN or a row of the paper's table 2; before --set"
    )
    train.add_argument(
        "--set", action="append", default=[], metavar="PATH=JSON", help="override a field, e.g. objective.tau_0=0.3"
    )
    train.add_argument("--out", type=Path, default=Path("sdcn-run"), help="folder for checkpoints, picture and results")
    train.add_argument("--data-root", type=Path, default=Path("data"), help="folder that data.source.path is below")
    train.add_argument("--weights-root", type=Path, default=Path("weights"), help="folder of pretrained weights")
    train.add_argument(
        "--cache", type=Path, default=None, help="folder for generated data and proposals; default OUT/cache"
    )
    train.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    train.add_argument("--resume", action="store_true", help="go on from OUT's last checkpoint")
    train.add_argument("--show", action="store_true", help="print the resolved experiment and stop")
    return parser


def _experiment(options: argparse.Namespace) -> ExperimentConfig:
    if options.preset:
        base = preset(options.preset)
    else:
        base = ExperimentConfig.model_validate_json(options.experiment.read_bytes())
    overrides = METHODS[options.method]() if options.method else {}
    for assignment in options.set:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f"--set {assignment!r}: write PATH=JSON, for example objective.tau_0=0.3")
        try:
            overrides[path] = json.loads(text)
        except json.JSONDecodeError:
            overrides[path] = text  # a bare word is a string
    return base.with_overrides(overrides)


def _sentence(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    return str(error)


def _train(experiment: ExperimentConfig, options: argparse.Namespace) -> int:
    import torch  # here: --show and --help answer without it

    from sdcn_core.data.datasets import DataRoots
    from sdcn_core.training.preparation import prepare_data
    from sdcn_core.training.ranks import Ranks
    from sdcn_core.training.terminal import TerminalHooks
    from sdcn_core.training.trainer import run_training

    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    roots = DataRoots(data=options.data_root, cache=options.cache or out / "cache")
    hooks = TerminalHooks(out / "checkpoints", print_line=print)
    prepare_data(experiment, roots, processes=os.cpu_count() or 1, report=hooks.report_data)
    work_dir = out / "work"
    work_dir.mkdir(exist_ok=True)
    started = time.monotonic()
    outcome = run_training(
        experiment,
        roots=roots,
        weights_root=options.weights_root,
        hooks=hooks,
        ranks=Ranks.current(torch.device(options.device)),
        checkpoint=hooks.latest_checkpoint() if options.resume else None,
        work_dir=work_dir,
    )
    results = outcome.results
    assert results is not None  # nobody asks this run to stop
    for name, path in outcome.files.items():
        shutil.copy(path, out / name)
    (out / "results.json").write_text(json.dumps(results, indent=2))
    shutil.rmtree(work_dir)
    print(_table(results))
    print(f"trained in {time.monotonic() - started:.0f} s; picture, model and results are in {out}")
    return 0


def _table(results: dict) -> str:  # type: ignore[type-arg]  # JSON
    """AP and CorLoc per class as text, per cent; the AP of labels where nobody drew the test split's boxes."""

    def cell(value: float | None) -> str:
        return "     -" if value is None else f"{100 * value:6.1f}"

    trained = results["trained"]
    ap = "classification_ap" if "test" in trained["without_boxes"] else "ap"
    lines = [f"{'class':<16}{'AP':>6} {'CorLoc':>6}"]
    lines += [f"{name:<16}{cell(trained[ap][name])} {cell(trained['corloc'][name])}" for name in results["classes"]]
    lines += [
        f"{'mean, ' + name:<16}{cell(results[name][f'mean_{ap}'])} {cell(results[name]['mean_corloc'])}"
        for name in ("trained", "untrained", "chance")
        if results[name] is not None
    ]
    if "test" in trained["without_boxes"]:
        lines.append("no boxes of the test split: the AP is that of the images' labels")
    if "train" in trained["without_boxes"]:
        lines.append("no boxes of the training split: CorLoc cannot be counted")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
