"""Pictures for the studio, and programs that stand in for its painter: they need no network."""

import io
from pathlib import Path

import pytest
from PIL import Image

from jaxstyle.view import studio_queue

PAINTS_AT_ONCE = """
import json, sys
from PIL import Image
path = sys.argv[sys.argv.index('-o') + 1]
Image.new('RGB', (40, 30), (9, 8, 7)).save(path)
open(path.replace('.png', '-0010.png'), 'w').close()
print(json.dumps({'output': path, 'losses': {'total': 2.5}, 'steps_done': 10}))
"""
"""Leaves a numbered picture, as a run does that is killed."""

PAINTS_WHEN_TOLD = """
import json, signal, sys, time
from pathlib import Path
from PIL import Image

path = Path(sys.argv[sys.argv.index('-o') + 1])
go_on = path.parents[2]

def end(color, code):
    Image.new('RGB', (40, 30), color).save(path)
    print(json.dumps({'output': str(path), 'losses': {'total': 2.5}, 'steps_done': 20}), flush=True)
    sys.exit(code)

signal.signal(signal.SIGTERM, lambda *_: end((0, 0, 200), 143))
log = path.with_name('log.csv')
log.write_text('step,size,content,total,learning_rate,seconds\\n')
for part in (1, 2):
    with log.open('a') as rows:
        for step in range(10 * part - 9, 10 * part + 1):
            rows.write(f'{step},30x40,{1 / step},{2.5 / step},0.1,0.01\\n')
    print(f'step {10 * part}/20 at 30x40: total 2.5, 0.01 s/step, 0:07 left', file=sys.stderr)
    sys.stderr.flush()
    Image.new('RGB', (40, 30), (90 * part, 0, 0)).save(f'{str(path)[:-4]}-00{10 * part}.png')
    until = time.monotonic() + 120
    while not (go_on / f'{path.parent.name[:4]}-{part}').exists() and time.monotonic() < until:
        time.sleep(0.02)
end((0, 200, 0), 0)
"""
"""Two parts of ten steps, after each a wait for the file NUMBER-PART in the studio's folder."""


def stand_in(monkeypatch: pytest.MonkeyPatch, path: Path, program: str = "") -> Path:
    """Has the studio run a program, which may be written later, instead of the painter."""
    words = studio_queue.RUN
    assert words[1:] == ["-m", "jaxstyle.run"]
    path.write_text(program)
    monkeypatch.setattr(studio_queue, "RUN", [words[0], str(path)])
    return path


def png(color: int, size: tuple[int, int] = (40, 30)) -> bytes:
    """Returns a picture file of one color, the more red the larger the number."""
    data = io.BytesIO()
    Image.new("RGB", size, (color, 0, 0)).save(data, "PNG")
    return data.getvalue()
