# Copyright (c) 2026, poolwright.virt contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt)
# SPDX-License-Identifier: BSD-2-Clause

"""Undoing compression while a file comes: what leaves is bounded, and so is the memory, whatever the file says of itself."""

from __future__ import annotations

import contextlib
import lzma
import subprocess
import threading
import zlib
from types import TracebackType
from typing import IO, Any, Callable, Protocol

from ansible_collections.poolwright.virt.plugins.module_utils.errors import ImageRefused
from ansible_collections.poolwright.virt.plugins.module_utils.images.sparse import CHUNK, Writer
from ansible_collections.poolwright.virt.plugins.module_utils.process import find_tool

# xz -9 needs 65 MiB to be undone; a file that says it needs more is made to exhaust the host.
_MOST_MEMORY = 80 * 1024**2
_STEP = CHUNK // 4
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"  # behind a first byte of 0x50 to 0x5f
_REMEDY = "give the compression it has, or fetch it again and give its checksum"


class Gathered:
    """Collects what is written in pieces of any size, and passes it on in whole chunks of 1 MiB.

    :param limit: bytes. One more and ``ImageRefused`` is raised.
    """

    def __init__(self, writer: Writer, limit: int, shown: str) -> None:
        self._writer = writer
        self._limit = limit
        self._shown = shown
        self._buffer = bytearray(CHUNK)
        self._filled = 0
        self._total = 0

    def write(self, data: bytes) -> None:
        self._total += len(data)
        if self._total > self._limit:
            raise _refused(f"it unpacks to more than the {self._limit} bytes allowed", self._shown, "an honest image is smaller")
        rest = memoryview(data)
        while rest:
            taken = min(len(rest), CHUNK - self._filled)
            self._buffer[self._filled : self._filled + taken] = rest[:taken]
            self._filled += taken
            rest = rest[taken:]
            if self._filled == CHUNK:
                self.flush()

    def flush(self) -> None:
        if self._filled:
            self._writer.write(self._buffer, self._filled)
            self._filled = 0


class _Stage(Protocol):
    """Undoes one compression."""

    def write(self, data: memoryview) -> None:
        """Take more of the file."""

    def finish(self) -> None:
        """The file is at its end: it must have been a whole one."""

    def close(self) -> None:
        """Let go of everything, at whatever point."""


class Unpacker:
    """``with Unpacker(...) as unpacker``: feed it a compressed file with ``write``, then ``finish``.

    :raises ImageRefused: by both: it is not so compressed, is damaged, is cut off, or unpacks to more than ``limit`` bytes.
    """

    def __init__(self, writer: Writer, compression: str, limit: int, shown: str) -> None:
        self._shown = shown
        self._out = Gathered(writer, limit, shown)
        self._stage: _Stage = _STAGES[compression](self._out, shown)

    def __enter__(self) -> Unpacker:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self._stage.close()

    def write(self, data: memoryview) -> None:
        self._stage.write(data)

    def finish(self) -> None:
        self._stage.finish()
        self._out.flush()


class _Gzip:
    """Members one after another, as the format has it; the last one may be followed by zeros."""

    def __init__(self, out: Gathered, shown: str) -> None:
        self._out = out
        self._shown = shown
        self._engine: Any = None
        self._members = 0

    def write(self, data: memoryview) -> None:
        rest = bytes(data)
        while rest:
            if self._engine is None:
                if self._members:
                    rest = rest.lstrip(b"\0")
                if not rest:
                    return
                self._engine = zlib.decompressobj(16 + zlib.MAX_WBITS)
            try:
                self._out.write(self._engine.decompress(rest, _STEP))
            except zlib.error as exc:
                raise _refused(f"it is not gzip, or damaged: {exc}", self._shown, _REMEDY) from exc
            rest = self._engine.unconsumed_tail
            if self._engine.eof:
                rest = self._engine.unused_data
                self._engine = None
                self._members += 1

    def finish(self) -> None:
        # What the last piece of the input made may not all have left yet.
        while self._engine is not None:
            try:
                more = self._engine.decompress(self._engine.unconsumed_tail, _STEP)
            except zlib.error as exc:
                raise _refused(f"it is not gzip, or damaged: {exc}", self._shown, _REMEDY) from exc
            self._out.write(more)
            if self._engine.eof:
                return
            if not more:
                raise _refused("it is cut off, or something else follows it", self._shown, _REMEDY)
        if not self._members:
            raise _refused("it is not gzip: it is empty", self._shown, _REMEDY)

    def close(self) -> None:
        self._engine = None


class _Xz:
    """Streams one after another, with zeros between them, as the format has it."""

    def __init__(self, out: Gathered, shown: str) -> None:
        self._out = out
        self._shown = shown
        self._engine: lzma.LZMADecompressor | None = None
        self._streams = 0

    def write(self, data: memoryview) -> None:
        rest = bytes(data)
        while rest:
            if self._engine is None:
                if self._streams:
                    rest = rest.lstrip(b"\0")
                if not rest:
                    return
                self._engine = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_MEMORY)
            rest = self._feed(self._engine, rest)

    def _feed(self, engine: lzma.LZMADecompressor, data: bytes) -> bytes:
        """Everything into one stream; returns what follows its end."""
        try:
            self._out.write(engine.decompress(data, _STEP))
            while not engine.eof and not engine.needs_input:
                self._out.write(engine.decompress(b"", _STEP))
        except (lzma.LZMAError, MemoryError) as exc:
            if isinstance(exc, MemoryError) or "memory" in str(exc).lower():
                raise _refused("it needs more memory to unpack than is allowed", self._shown, "compress it again with xz -9 or less") from exc
            raise _refused(f"it is not xz, or damaged: {exc}", self._shown, _REMEDY) from exc
        if not engine.eof:
            return b""
        self._engine = None
        self._streams += 1
        return engine.unused_data

    def finish(self) -> None:
        if self._engine is not None:
            raise _refused("it is cut off, or something else follows it", self._shown, _REMEDY)
        if not self._streams:
            raise _refused("it is not xz: it is empty", self._shown, _REMEDY)

    def close(self) -> None:
        self._engine = None


class _Zstd:
    """The tool: no Python before 3.14 can do it. Its memory is bounded by its own default, a window of 128 MiB."""

    def __init__(self, out: Gathered, shown: str) -> None:
        self._out = out
        self._shown = shown
        self._failure: BaseException | None = None
        self._begun = False
        # The thread's end of the pipe: what the tool unpacks is written while more is fed.
        command = [find_tool("setpriv", "util-linux"), "--pdeathsig", "KILL", find_tool("zstd", "zstd"), "-d", "-c", "-q", "--no-progress"]
        # The tool runs beside the download, so it cannot be waited for as others are.
        self._process = subprocess.Popen(  # pylint: disable=ansible-bad-function
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={"LC_ALL": "C.UTF-8"}
        )
        self._thread = threading.Thread(target=self._drain, args=(self._process.stdout,), daemon=True)
        self._thread.start()

    def write(self, data: memoryview) -> None:
        if self._failure is not None:
            raise self._failure
        if data and not self._begun:
            # The tool would also unpack gzip and xz.
            if bytes(data[:4]) != _ZSTD_MAGIC and bytes(data[1:4]) != _SKIPPABLE:
                raise _refused("it is not zstd", self._shown, _REMEDY)
            self._begun = True
        try:
            _pipe(self._process.stdin).write(data)
        except OSError:
            # It gave up: finish() knows why.
            self.finish()

    def finish(self) -> None:
        if not self._begun:
            raise _refused("it is not zstd: it is empty", self._shown, _REMEDY)
        stdin = _pipe(self._process.stdin)
        with contextlib.suppress(OSError):  # it gave up before it had read all
            stdin.close()
        self._thread.join()
        said = _pipe(self._process.stderr).read(500).decode("utf-8", "replace").strip()
        if self._failure is not None:
            raise self._failure
        if self._process.wait() != 0:
            raise _refused(f"it is not zstd, damaged or cut off: {said.rpartition(': ')[2]}", self._shown, _REMEDY)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._thread.join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):  # what was left in it is of no use any more
                _pipe(pipe).close()
        self._process.wait()

    def _drain(self, stdout: IO[bytes]) -> None:
        try:
            while True:
                data = stdout.read(_STEP)
                if not data:
                    return
                self._out.write(data)
        except BaseException as exc:  # raised again where the download is: a thread has nobody to tell
            self._failure = exc
            self._process.kill()


_STAGES: dict[str, Callable[[Gathered, str], _Stage]] = {"gzip": _Gzip, "xz": _Xz, "zstd": _Zstd}


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("the tool was started without a pipe")
    return stream


def _refused(why: str, shown: str, hint: str) -> ImageRefused:
    return ImageRefused(f"the image is refused: {why}", obj=shown, phase="unpack", hint=hint)
