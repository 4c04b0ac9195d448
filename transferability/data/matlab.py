"""Labels and lists from MATLAB's files, read in a process of their own: a damaged file can crash SciPy's reader."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence

from transferability.files import Refused, shown

_NUMBERS = """
import io, json, sys
from scipy.io import loadmat
content = loadmat(io.BytesIO(sys.stdin.buffer.read()), variable_names=sys.argv[1:])
print(json.dumps({name: [int(value) for value in content[name].ravel()] for name in sys.argv[1:]}))
"""


def mat_numbers(data: bytes, place: str, names: Sequence[str], advice: str) -> dict[str, list[int]]:
    """Variables of a .mat file that hold whole numbers, each as a flat list. Raises Refused, with `place` and `advice`,
    where the file is damaged or lacks one."""
    return json.loads(read_mat(_NUMBERS, data, place, advice, names))


def read_mat(program: str, data: bytes, place: str, advice: str, arguments: Sequence[str] = ()) -> str:
    """What a Python program prints that reads the content of a .mat file from its standard input.

    Raises Refused, with the place of the file and advice on what to do, where the program fails.
    """
    # -P: no module of the current folder stands in for another
    command = [sys.executable, "-P", "-c", program, *arguments]
    try:
        process = subprocess.run(command, input=data, capture_output=True, timeout=300)
    except subprocess.TimeoutExpired as error:
        raise Refused(f"{place} is damaged ({error}): {advice}") from None
    if process.returncode:
        failure = process.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        if process.returncode < 0:
            failure = f"its reader was ended by {signal.Signals(-process.returncode).name}"
        raise Refused(f"{place} is damaged ({shown(failure)}): {advice}")
    return process.stdout.decode("utf-8", "replace")
