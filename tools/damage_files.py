"""Damage files of every kind that the project reads, and look at how each reader takes it.

    python tools/damage_files.py --reader mat --cases 1000 --seed 1 --keep faults

For every reader (`damage_readers.py`) small whole files are written with the project's own writers. A case damages one of them
(`damage_edits.py`) and reads it in a worker process. It may be read (`ok`) or refused: InputError of one line that names the
file. Everything else is a fault:

    crash      the process is ended by a signal
    hang       it needs more than 10 s of a processor, or a minute by the clock
    memory     it asks for more than 1 GB
    exception  another exception than InputError
    message    a refusal that is not one line of at most 1,000 characters, or does not name the file

A case follows from reader, seed and number alone: `--reader mat --seed 1 --first 77 --cases 1` tries number 77 again. Faults
are listed by the place in the code, and `--keep` stores their files. The exit status is 1 if there is any. Linux only.
"""

import argparse
import faulthandler
import json
import os
import re
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # a process that is forked from one with threads may wait for ever

import torch

from damage_edits import OTHER_FILES, damage
from damage_readers import READERS, Reader
from headposekit.errors import InputError

OUTCOMES = ("ok", "refused", "crash", "hang", "memory", "exception", "message")
FAULTS = OUTCOMES[2:]
GIGABYTE = 10**9
ROOM = GIGABYTE + 2**28
"""Bytes that a case may take; threads reserve some that they never use."""
PROCESSOR_SECONDS, CLOCK_SECONDS = 10.0, 60.0
BATCH = 100
"""Cases of one worker, which starts anew then."""
LONGEST = 1000
WORKER_BROKEN = 99
"""Exit status of a worker whose own code fails."""
NO_MEMORY = re.compile(r"allocat|bad_alloc|insufficient memory|out of memory", re.IGNORECASE)
SOURCE = "headposekit" + os.sep


@dataclass
class Result:
    """What came of one case.

    Attributes:
        case: its number, -1 and below of a whole file.
        file: what was damaged, below the reader's folder; edits: how.
        outcome: one of `OUTCOMES`; detail: what was raised; place: file and line of the project's code.
        seconds: of the reading; megabytes: by which the process grew.
    """

    case: int
    file: str
    edits: str
    outcome: str = "crash"
    detail: str = ""
    place: str = ""
    seconds: float = 0.0
    megabytes: float = 0.0


def run_cases(name: str, reader: Reader, seed: int, numbers: range, folder: Path, keep: Path | None = None) -> list[Result]:
    """Try a reader.

    Args:
        name: of the reader.
        reader: what writes and reads.
        seed: of the damage.
        numbers: of the cases.
        folder: for the files, empty.
        keep: where faulty files go; None for nowhere.

    Raises:
        RuntimeError: the whole files cannot be written, or are not read.
    """
    whole = folder / "whole" / "files"
    whole.mkdir(parents=True)
    if (status := _in_child(lambda: reader.write(whole))) != 0:
        raise RuntimeError(f"{name}: its whole files cannot be written (status {status})")
    files = reader.files(whole)
    results: list[Result] = []
    left = [*range(-len(files), 0), *numbers]
    while left:
        part = left[:BATCH]
        results += _run_batch(name, reader, seed, part, folder, keep)
        left = [*range(-len(files), 0), *numbers][len(results) :]
    for result in results:
        if result.case < 0 and result.outcome != "ok" and not Path(result.file).name.startswith("refused"):
            raise RuntimeError(f"{name}: the whole file {result.file} is not read: {result.outcome} {result.detail}")
    return [result for result in results if result.case >= 0]


def _run_batch(name: str, reader: Reader, seed: int, numbers: list[int], folder: Path, keep: Path | None) -> list[Result]:
    """As many of these cases as one worker does: all, or those until it crashes or hangs."""
    given = folder / "given" / "files"
    shutil.rmtree(given.parent, ignore_errors=True)
    shutil.copytree(folder / "whole" / "files", given)
    ours, theirs = os.pipe()
    worker = os.fork()
    if worker == 0:
        try:
            os.close(ours)
            _work(reader, name, seed, numbers, folder, theirs)
        except BaseException:
            traceback.print_exc()
            os._exit(WORKER_BROKEN)
        os._exit(0)
    os.close(theirs)
    results: list[Result] = []
    started: Result | None = None
    with os.fdopen(ours, "rb", buffering=0) as pipe:
        for line in _lines(pipe, worker):
            if line is None:  # it hangs
                os.kill(worker, signal.SIGUSR1)  # says where it is
                time.sleep(0.3)
                os.kill(worker, signal.SIGKILL)
                if started is not None:
                    started.outcome, started.seconds = "hang", PROCESSOR_SECONDS
                break
            result = Result(**json.loads(line))
            if result.outcome == "started":
                started = result
                continue
            started = None
            results.append(result)
            if keep is not None and result.outcome in FAULTS and result.case >= 0:
                _keep(keep / name, folder / "fault", result, seed)
    _, status = os.waitpid(worker, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == WORKER_BROKEN:
        raise RuntimeError(f"{name}: its worker is broken: {(folder / 'said.txt').read_text()[-1500:]}")
    if started is not None:
        if started.outcome != "hang":
            started.outcome = "crash"
            started.detail = (
                signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"
            )
        said = (folder / "said.txt").read_text(errors="replace")
        started.place = _place_of_dump(said)
        started.detail += f" {_last_words(said)}"
        if keep is not None and started.case >= 0:
            _keep(keep / name, given / started.file, started, seed)
        results.append(started)
    return results


def _lines(pipe: Any, worker: int) -> Iterator[bytes | None]:
    """What the worker writes, line by line; None where it has needed too long for one."""
    buffer, start, before = b"", time.monotonic(), _processor_seconds(worker)
    while True:
        ready, _, _ = select.select([pipe], [], [], 0.5)
        if ready:
            chunk = pipe.read(65536)
            if not chunk:
                return
            *lines, buffer = (buffer + chunk).split(b"\n")
            yield from lines
            start, before = time.monotonic(), _processor_seconds(worker)
        elif time.monotonic() - start > CLOCK_SECONDS or _processor_seconds(worker) - before > PROCESSOR_SECONDS:
            yield None
            return


def _processor_seconds(process: int) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _work(reader: Reader, name: str, seed: int, numbers: list[int], folder: Path, pipe: int) -> None:
    """The worker: read each case, and write what came of it."""
    said = os.open(folder / "said.txt", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    os.dup2(said, 1)
    os.dup2(said, 2)
    faulthandler.enable(said)
    faulthandler.register(signal.SIGUSR1, said)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    given, whole = folder / "given" / "files", folder / "whole" / "files"
    os.chdir(folder)
    files = reader.files(given)
    read = reader.open(given)
    virtual = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (virtual + ROOM, virtual + ROOM))
    for number in numbers:
        random = Random(f"{name} {seed} {number}")
        file = files[number] if number < 0 else random.choice(files)
        content, edits = (whole / file.relative_to(given)).read_bytes(), "none"
        if number >= 0:
            content, edits = damage(random, content, file.suffix)
        file.unlink()  # a picture that is still mapped keeps its own
        file.write_bytes(content)
        result = Result(number, str(file.relative_to(given)), edits, "started")
        _say(pipe, result)
        grown, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        _read(lambda file=file: read(file), result, [file.name, *([str(given), *OTHER_FILES] if reader.is_folder else [])])
        result.seconds = round(time.process_time() - start, 3)
        result.megabytes = round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - grown) / 1000, 1)
        if result.outcome in ("ok", "refused") and result.megabytes > 1000:
            result.outcome = "memory"
        if result.outcome in FAULTS:
            shutil.copyfile(file, folder / "fault")
        _say(pipe, result)
        file.unlink()
        shutil.copyfile(whole / file.relative_to(given), file)
        if result.outcome in FAULTS:
            _wait_for_keeper(folder)


def _read(read: Any, result: Result, names: list[str]) -> None:
    """Read one case, and enter what came of it."""
    try:
        read()
        result.outcome = "ok"
        return
    except InputError as error:
        caught: BaseException = error
        message = str(error)
        result.outcome = "refused"
        if re.search(r"[\n\r\v\f]", message) or len(message) > LONGEST or not any(name in message for name in names):
            result.outcome = "message"
    except BaseException as error:  # KeyboardInterrupt and SystemExit have no business in a reader
        caught = error
        result.outcome = "exception"
    chain: list[BaseException] = []
    link: BaseException | None = caught
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    if any(isinstance(one, MemoryError) or NO_MEMORY.search(str(one)) for one in chain if not isinstance(one, InputError)):
        result.outcome = "memory"
    deepest = next((one for one in chain if isinstance(one, MemoryError)), caught if result.outcome != "memory" else chain[-1])
    result.detail = f"{type(deepest).__name__}: {str(deepest)[:400]!r}"
    result.place = _place_of(deepest) or _place_of(caught)


def _place_of(error: BaseException) -> str:
    """Where in the project's code something was raised, or called that raised it."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if SOURCE in frame.filename]
    return f"{frames[-1].filename.rpartition(SOURCE)[2]}:{frames[-1].lineno}" if frames else ""


def _place_of_dump(said: str) -> str:
    """The same of what faulthandler wrote."""
    found = re.search(rf'File "[^"]*{SOURCE}([^"]+)", line (\d+)', said)
    return f"{found[1]}:{found[2]}" if found else ""


def _last_words(said: str) -> str:
    """What a process wrote before it ended, such as what C++ says of its exceptions."""
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith(("  File", "Current thread", "Thread"))]
    return next((line for line in reversed(lines) if "what()" in line or "terminate" in line or "free()" in line), "")[:200]


def _say(pipe: int, result: Result) -> None:
    os.write(pipe, json.dumps(asdict(result)).encode() + b"\n")


def _wait_for_keeper(folder: Path) -> None:
    """Until the file of the last fault is stored, or half a second."""
    for _ in range(50):
        if not (folder / "fault").exists():
            return
        time.sleep(0.01)


def _keep(keep: Path, fault: Path, result: Result, seed: int) -> None:
    keep.mkdir(parents=True, exist_ok=True)
    name = f"{seed}_{result.case:06d}_{result.outcome}_{Path(result.file).name}"
    shutil.copyfile(fault, keep / name)
    (keep / f"{name}.txt").write_text(json.dumps(asdict(result), indent=2))
    if fault.name == "fault":
        fault.unlink(missing_ok=True)


def _in_child(task: Any) -> int:
    """Do something in a process of its own; returns its exit status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            torch.set_num_threads(1)
            os.dup2(2, 1)  # bars of progress are no part of the table
            task()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def table(results: dict[str, list[Result]]) -> str:
    """Readers and outcomes in numbers."""
    lines = [
        f"{'reader':<12}{'cases':>8}" + "".join(f"{outcome:>10}" for outcome in OUTCOMES) + f"{'a second':>10}{'longest':>9}"
    ]
    for name, found in [*results.items(), ("all", [one for each in results.values() for one in each])]:
        counts, seconds = Counter(one.outcome for one in found), [one.seconds for one in found]
        numbers = "".join(f"{counts[outcome]:>10}" for outcome in OUTCOMES)
        lines.append(
            f"{name:<12}{len(found):>8}{numbers}{len(found) / max(sum(seconds), 1e-3):>10.0f}{max(seconds, default=0):>8.1f}s"
        )
    return "\n".join(lines)


def fault_list(results: dict[str, list[Result]]) -> str:
    """The faults by reader, outcome and place, most frequent first, each with one example."""
    groups: dict[tuple[str, ...], list[Result]] = defaultdict(list)
    for name, found in results.items():
        for one in found:
            if one.outcome in FAULTS:
                groups[name, one.outcome, one.place, one.detail.split(":")[0]].append(one)
    lines = []
    for (name, outcome, place, _), found in sorted(groups.items(), key=lambda item: -len(item[1])):
        one = min(found, key=lambda result: len(result.detail))
        lines.append(
            f"- {name} {outcome} x{len(found)} at {place or '?'}: {one.detail} (case {one.case}, {one.file}, {one.edits})"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Try the readers that are named, print the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--reader", action="append", choices=sorted(READERS), help="may be given several times; all without it")
    parser.add_argument("--cases", type=int, default=200, help="of each reader")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for faulty files")
    options = parser.parse_args(arguments)
    results: dict[str, list[Result]] = {}
    broken = 0
    for name in options.reader or READERS:
        with tempfile.TemporaryDirectory(prefix="damage") as folder:
            numbers = range(options.first, options.first + options.cases)
            try:
                results[name] = run_cases(name, READERS[name], options.seed, numbers, Path(folder), options.keep)
            except RuntimeError as error:
                broken += 1
                print(f"{name} cannot be tried: {error}", flush=True)
                continue
        print(fault_list({name: results[name]}) or f"{name}: no faults", flush=True)
    print(table(results))
    return int(broken > 0 or any(one.outcome in FAULTS for found in results.values() for one in found))


if __name__ == "__main__":
    sys.exit(main())
