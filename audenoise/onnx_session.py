"""ONNX Runtime as all models use it: from bytes that were checked, on the CPU, with errors of one line."""

import onnxruntime as ort

from audenoise.errors import ModelError


def open_session(content: bytes, where: str, *, threads: int) -> ort.InferenceSession:
    """Load a graph.

    Parameters
    ----------
    content : bytes
        Of the file: a graph without a path can't reach other files.
    where : str
        What errors call it.
    threads : int
        At least 1; of one operator, operators wait for each other.

    Raises
    ------
    ModelError
        If it can't be loaded.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # what goes wrong is raised as well
    try:
        # Without the fallback, which prints that it tries the same again.
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # onnxruntime's errors have no common base
        raise ModelError(f"{where} can't be loaded ({first_line(error)})") from error


def first_line(error: BaseException) -> str:
    """What there is of an error's text in its first line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
