"""The rerun matrix: edits, and which jobs may run after each of them.

A job is named by its wildcards, such as ``d train 0`` for a shard. A cell says in words what the table in the docs
shows, and in patterns which jobs have to run; whatever matches none of them must not run.
"""

import fnmatch
import os
import shutil
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image
from rawfiles import add_drive, blobs, make_tgs, write_tif

STAGES = (
    *("check", "shards", "training", "prediction", "threshold", "images", "scores", "comparisons", "leaderboard"),
    "page",
)
DATASETS = {"a": "d", "u": "d", "m": "c"}
OBSERVER = "d.second-observer"
BASELINES = (OBSERVER, "d.all-background", "d.resolution-ceiling")
OTHERS = ("r.all-background", "r.resolution-ceiling")
OLD = (1_500_000_000, 1_500_000_000)


class Cell(NamedTuple):
    words: str
    must: tuple[str, ...] = ()


class Row(NamedTuple):
    edit: str
    do: Callable
    cells: dict[str, Cell]

    def cell(self, stage):
        """What is said of a stage; the page follows from whatever it shows: checks, images and the leaderboard."""
        shown = stage == "page" and any(self.cells.get(name) for name in ("check", "images", *TABLES))
        return self.cells.get(stage, PAGE if shown else NOTHING)


NOTHING = Cell("")
ALL = Cell("all", ("*",))
LEADERBOARD = Cell("yes", ("leaderboard",))
TABLES = {"comparisons": Cell("yes", ("comparisons",)), "leaderboard": LEADERBOARD}
PAGE = Cell("yes", ("page",))


def named(*names, words=None):
    return Cell(words or ", ".join(names), names)


def scored_anew(*experiments, splits="*", **other):
    """From predictions to the leaderboard; a threshold, where one is chosen, depends on validation images only."""
    chosen = [name for name in experiments if name == "a" and splits != "test"]
    of_splits = tuple(f"{name} {splits}" for name in experiments)
    words = ", ".join(experiments) + (f" ({splits})" if splits != "*" else "")
    return {
        "prediction": Cell(words, of_splits),
        "threshold": named(*chosen) if chosen else NOTHING,
        "images": Cell(words, (*of_splits, *(f"{name} *" for name in chosen))),
        "scores": named(*experiments),
        **TABLES,
        **other,
    }


def trained_anew(*experiments, looked_at=False, **other):
    """Training and all that follows; `looked_at`: the image of augmented samples as well."""
    jobs = [job for name in experiments for job in (name, f"curves {name}")]
    jobs += [f"augmented {name}" for name in experiments if looked_at]
    return {"training": Cell(", ".join(experiments), tuple(jobs)), **scored_anew(*experiments), **other}


def checked(dataset, listed=True):
    return Cell(dataset, (f"check {dataset}", *([f"splits {dataset}"] if listed else [])))


# -- edits ------------------------------------------------------------------------------------------------------------


def nothing(project):
    pass


def touch_raw(project):
    for path in (project.folder / "raw").rglob("*.*"):
        path.touch()


def change(half, number):
    def edit(project):
        path = project.folder / f"raw/DRIVE/{half}/images/{number:02d}_{half}.tif"
        write_tif(path, blobs(99)[1], photometric="rgb")
        return {"@its": [project.shard_of(f"{number:02d}")]}

    return edit


def behind(edit):
    """Give all raw files a time long before the results, as ``cp -p``, ``rsync -a`` and archives do."""

    def edited(project):
        said = edit(project)
        for path in (project.folder / "raw").rglob("*.*"):
            os.utime(path, OLD)
        return said

    return edited


def rolled(name, number):
    """Move what a mask or field of view shows."""

    def edit(project):
        path = project.folder / "raw/DRIVE" / name
        with Image.open(path) as image:
            moved = Image.fromarray(np.roll(np.array(image), 9, axis=1), image.mode)
            if image.getpalette():
                moved.putpalette(image.getpalette())
        moved.save(path)
        return {"@its": [project.shard_of(f"{number:02d}")]}

    return edit


def swapped(project):
    folder = project.folder / "raw/DRIVE/test/images"
    for old, new in (("01_test.tif", "x"), ("02_test.tif", "01_test.tif"), ("x", "02_test.tif")):
        (folder / old).rename(folder / new)
    return {"@its": [project.shard_of(name) for name in ("01", "02")]}


def listed(project):
    (project.folder / "raw/salt/validation.txt").write_text("tile003\ntile006\n")


def row_of_table(project):
    path = project.folder / "raw/salt/train.csv"
    lines = path.read_text().splitlines()
    number = next(number for number, line in enumerate(lines) if line.startswith("tile003,"))
    lines[number] = "tile003,1 50"
    path.write_text("\n".join(lines) + "\n")


def without_notes(project):
    shutil.rmtree(project.folder / ".snakemake")


def moving(edit, at_most):
    """Let an edit of raw files say which shards have other samples than before."""

    def observed(project):
        before = project.members()
        edit(project.folder / "raw/DRIVE")
        after = project.members()
        moved = [name for name, members in after.items() if before.get(name) != members]
        assert 1 <= len(moved) <= at_most
        return {"@moved": moved}

    return observed


def of_sample(root, half, number):
    return [path for path in (root / half).rglob("*.*") if path.name.startswith(f"{number:02d}_")]


def delete(half, number):
    def edit(root):
        for path in of_sample(root, half, number):
            path.unlink()

    return edit


def rename(half, old, new):
    def edit(root):
        for path in of_sample(root, half, old):
            path.rename(path.with_name(path.name.replace(f"{old:02d}_", f"{new:02d}_", 1)))

    return edit


def configure(old, new):
    """Replace the first occurrence, which is that of `a`."""

    def edit(project):
        project.replace("config.yaml", old, new)

    return edit


def leave_out(project):
    its = project.shard_of("02")
    project.edit("{fraction: 0.34}", '{fraction: 0.34}, exclude: {"02": "blurred"}')
    return {"@its": [its]}


def configure_all(project):
    project.config.write_text("# other words\n\n" + project.config.read_text().replace("lr: 0.02", "lr:   2.0e-2"))


def remove_experiment(project):
    text = project.config.read_text()
    project.config.write_text(text[: text.index("  m:\n")])


def add_data_set(project):
    make_tgs(project.folder / "raw/TGS")
    project.edit("datasets:", "datasets:\n  t: {layout: tgs, root: raw/TGS, size: [32, 32]}")


def code(*modules, text="\n\n_EDITED = 1\n"):
    def edit(project):
        for name in modules:
            project.append(f"pipeline/{name}.py", text)

    return edit


def style(project):
    project.append("pipeline/report/assets/page.css", "\np { color: red; }\n")


def docstrings(project):
    project.replace("pipeline/models/unet.py", '"""', '"""Said in other words. ')
    project.replace("pipeline/shards/prepare.py", '"""', '"""Said in other words. ')


def overlooked(project):
    code("core/errors", "cli/main")(project)


def plumbing(project):
    code("core/files", "core/gpus", "core/parallel")(project)


def comments(project):
    for path in (project.folder / "pipeline").rglob("*.py"):
        if text := path.read_text():
            path.write_text(f"# a comment\n\n{text}\n# and another\n")


def check_out(project):
    for name in ("Snakefile", "workflow", "pipeline", "profiles", "config.yaml"):
        path = project.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    project.git("checkout", "--", ".")


def caption(project):
    project.append("workflow/report/leaderboard.rst", "\nOther words.\n")


def resources(project):
    name = "workflow/rules/train.smk"
    project.replace(name, "        save_every=60,", "        save_every=60,\n        mem_mb=2000,\n        runtime=90,")
    project.replace(name, "    log:", '    message: "training"\n    priority: 3\n    log:')


def remove(name):
    def edit(project):
        path = project.folder / "results" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return edit


def corrupt(name):
    def edit(project):
        path = project.folder / "results/shards" / name
        data = bytearray(path.read_bytes())
        start = len(data) // 2
        data[start : start + 400] = bytes(byte ^ 0xFF for byte in data[start : start + 400])
        path.write_bytes(bytes(data))

    return edit


def first_shard(split):
    def shard(project):
        return min(name for name in project.members() if name.startswith(f"d {split} "))

    return shard


def with_shard(edit, split):
    """Do something to the first shard of a split of d."""

    def observed(project):
        name = first_shard(split)(project)
        _, _, number = name.split()
        edit(f"d/{split}-{number}.h5")(project)
        return {"@its": [name]}

    return observed


def deleted_shard(name):
    return remove(f"shards/{name}")


# -- the matrix -------------------------------------------------------------------------------------------------------

ITS = named("@its", words="its own")
MOVED = named("@moved", words="whose samples changed")


def tested_anew(**other):
    """What follows from a test sample of d; its threshold is chosen on validation samples."""
    words = f"a, u, {OBSERVER} (test)"
    images = Cell(words, tuple(f"{name} test" for name in ("a", "u", OBSERVER)))
    return {**scored_anew("a", "u", splits="test"), "images": images, **other}


def test_changed(**other):
    """What follows where the test split of d has other samples: its baselines are other ones, too."""
    predictions = Cell("a, u, baselines (test)", tuple(f"{name} test" for name in ("a", "u", *BASELINES)))
    scores = named("a", "u", *BASELINES, words="a, u, baselines")
    return tested_anew(check=checked("d"), prediction=predictions, scores=scores, **other)


def truth_changed(**other):
    """What follows from a test mask or field of view: two baselines are made of it, and all are scored by it."""
    made = tuple(f"{name} test" for name in ("a", "u", *BASELINES[1:]))
    scores = named("a", "u", *BASELINES, words="a, u, baselines")
    predictions = Cell("a, u, two baselines (test)", made)
    return tested_anew(check=checked("d", listed=False), prediction=predictions, scores=scores, **other)


ENSEMBLE = ("a.ensemble test", "a.ensemble out-of-fold")

ROWS = [
    Row("nothing", nothing, {}),
    Row("touch all raw files", touch_raw, {}),
    Row(
        "change a training image",
        change("training", 22),
        trained_anew("a", "u", looked_at=True, check=checked("d", listed=False), shards=ITS),
    ),
    Row("change a test image", change("test", 2), tested_anew(check=checked("d", listed=False), shards=ITS)),
    Row(
        "change a training image, with an old time",
        behind(change("training", 22)),
        trained_anew("a", "u", looked_at=True, check=checked("d", listed=False), shards=ITS),
    ),
    Row(
        "change a training mask, with an old time",
        behind(rolled("training/1st_manual/22_manual1.gif", 22)),
        trained_anew("a", "u", looked_at=True, check=checked("d", listed=False), shards=ITS),
    ),
    Row(
        "change a test mask, with an old time",
        behind(rolled("test/1st_manual/02_manual1.gif", 2)),
        truth_changed(shards=ITS),
    ),
    Row(
        "change a field of view of a test image, with an old time",
        behind(rolled("test/mask/02_test_mask.gif", 2)),
        truth_changed(shards=ITS),
    ),
    Row(
        "change a mask of the second observer, with an old time",
        behind(rolled("test/2nd_manual/02_manual2.gif", 2)),
        {
            "check": checked("d", listed=False),
            "prediction": Cell(f"{OBSERVER} (test)", (f"{OBSERVER} test",)),
            "images": Cell(f"{OBSERVER} (test)", (f"{OBSERVER} test",)),
            "scores": named(OBSERVER),
            **TABLES,
        },
    ),
    Row(
        "swap two test images, with old times",
        behind(swapped),
        tested_anew(check=checked("d", listed=False), shards=ITS),
    ),
    Row(
        "change the list of validation samples of `r`, with an old time",
        behind(listed),
        {
            "check": checked("r"),
            "shards": named("r train 0", "r validation 0", words="r (train, validation)"),
            "leaderboard": LEADERBOARD,
        },
    ),
    Row(
        "change a row of the table of masks of `r`, with an old time",
        behind(row_of_table),
        {
            "check": checked("r", listed=False),
            "shards": named("r validation 0", words="r (validation)"),
            "leaderboard": LEADERBOARD,
        },
    ),
    Row(
        "add a training image",
        moving(lambda root: add_drive(root, "training", 40), at_most=3),
        trained_anew("a", "u", looked_at=True, check=checked("d"), shards=MOVED),
    ),
    Row(
        "add a test image",
        moving(lambda root: add_drive(root, "test", 9), at_most=1),
        test_changed(shards=MOVED),
    ),
    Row(
        "delete a test image",
        moving(delete("test", 1), at_most=1),
        test_changed(shards=MOVED),
    ),
    Row(
        "rename a test image",
        moving(rename("test", 1, 17), at_most=2),
        test_changed(shards=named("@moved", words="at most its old and its new one")),
    ),
    Row(
        "rename a training image",
        moving(rename("training", 23, 37), at_most=4),
        trained_anew("a", "u", looked_at=True, check=checked("d"), shards=MOVED),
    ),
    Row(
        "leave out a test sample (`exclude`)",
        leave_out,
        test_changed(
            shards=ITS,
            threshold=named("a"),
            images=Cell(f"a, u, {OBSERVER}", ("a *", "u *", f"{OBSERVER} *")),
        ),
    ),
    Row("whitespace, comments, `0.02` as `2.0e-2`", configure_all, {}),
    Row("order of keys", configure("{name: adam, lr: 0.02}", "{lr: 0.02, name: adam}"), {}),
    Row("learning rate of `a`", configure("lr: 0.02", "lr: 0.01"), trained_anew("a")),
    Row("batch size of `a`", configure("batch_size: 2", "batch_size: 3"), trained_anew("a")),
    Row("seed of `a`", configure("epochs: 1\n", "epochs: 1\n    seed: 5\n"), trained_anew("a", looked_at=True)),
    Row(
        "`folds: 2` for `a`",
        configure("epochs: 1\n", "epochs: 1\n    folds: 2\n"),
        {
            "training": Cell("each fold", ("folds d", "a-fold*", "curves a-fold*", "augmented a-fold*")),
            "prediction": Cell("each fold, a.ensemble", ("a-fold? test", "a-fold? validation", *ENSEMBLE)),
            "threshold": Cell("each fold, a.ensemble", ("a-fold?", "a.ensemble")),
            "images": Cell("each fold, a.ensemble", ("a-fold? test", "a-fold? validation", *ENSEMBLE)),
            "scores": Cell("each fold, a.ensemble, their mean", ("a-fold?", "a.ensemble", "a")),
            **TABLES,
        },
    ),
    Row(
        "threshold of `a`",
        configure("threads: 1", "threads: 1\n    threshold: 0.4"),
        scored_anew("a", prediction=NOTHING),
    ),
    Row(
        "metric that the threshold of `a` is chosen by",
        configure("threads: 1", "threads: 1\n    threshold: {metric: iou, averaging: macro}"),
        scored_anew("a", prediction=NOTHING),
    ),
    Row(
        "policy for empty masks of `a`",
        configure("threads: 1", "threads: 1\n    empty_masks: skip"),
        {"scores": named("a"), **TABLES},
    ),
    Row(
        "colours of the images of `c`",
        configure("#ff8000", "#0080ff"),
        {"check": checked("c", listed=False), "images": named("m *", words="m"), "leaderboard": LEADERBOARD},
    ),
    Row(
        "image size of `d`",
        configure("size: [32, 32], shards: 3", "size: [48, 32], shards: 3"),
        trained_anew(
            "a",
            "u",
            looked_at=True,
            shards=named("d *", words="d"),
            prediction=Cell("a, u, d.resolution-ceiling", ("a *", "u *", "d.resolution-ceiling test")),
            scores=named("a", "u", "d.resolution-ceiling"),
        ),
    ),
    Row(
        "add an experiment",
        configure(
            "experiments:",
            "experiments:\n  n: {dataset: c, model: {name: unet-crop, widths: [4, 8]}, "
            "loss: cross-entropy, optimizer: {name: sgd, lr: 0.1}, batch_size: 2, epochs: 1, threads: 1}",
        ),
        trained_anew("n", looked_at=True),
    ),
    Row("remove an experiment", remove_experiment, TABLES),
    Row(
        "add a data set",
        add_data_set,
        {
            "check": checked("t"),
            "shards": named("t *", words="t"),
            "prediction": named("t.* test", words="baselines of t"),
            "threshold": named("t.*", words="baselines of t"),
            "scores": named("t.*", words="baselines of t"),
            **TABLES,
        },
    ),
    Row("edit `models/unet.py`", code("models/unet"), trained_anew("a")),
    Row("edit `models/u2net.py`", code("models/u2net"), trained_anew("u")),
    Row(
        "edit `raw/layouts/folder.py`",
        code("raw/layouts/folder"),
        trained_anew("m", looked_at=True, check=checked("c"), shards=named("c *", words="c")),
    ),
    Row(
        "edit `shards/prepare.py`",
        code("shards/prepare"),
        trained_anew("a", "u", "m", looked_at=True, shards=ALL, prediction=ALL, images=ALL, scores=ALL),
    ),
    Row("edit `training/losses.py`", code("training/losses"), trained_anew("a", "u", "m")),
    Row(
        "edit `training/augment/augmentation.py`",
        code("training/augment/augmentation"),
        trained_anew("a", "u", "m", looked_at=True),
    ),
    Row("edit `prediction/tiles.py`", code("prediction/tiles"), scored_anew("a", "u", "m")),
    Row(
        "edit `evaluation/metrics.py`",
        code("evaluation/metrics"),
        {
            "threshold": named("a", "u", *BASELINES, *OTHERS, words="a, u, baselines"),
            "images": named("a *", "u *", f"{OBSERVER} *", words=f"a, u, {OBSERVER}"),
            "scores": ALL,
            **TABLES,
        },
    ),
    Row("edit `evaluation/bootstrap.py`", code("evaluation/bootstrap"), {"scores": ALL, **TABLES}),
    Row("edit `evaluation/paired.py`", code("evaluation/paired"), {"comparisons": TABLES["comparisons"]}),
    Row(
        "edit `evaluation/criteria.py`",
        code("evaluation/criteria"),
        {
            "threshold": named("a", "u", *BASELINES, *OTHERS, words="a, u, baselines"),
            "images": named("a *", "u *", f"{OBSERVER} *", words=f"a, u, {OBSERVER}"),
            "scores": named("a", "u", *BASELINES, *OTHERS, words="a, u, baselines"),
            **TABLES,
        },
    ),
    Row("edit `evaluation/renderings.py`", code("evaluation/renderings"), {"images": ALL}),
    Row("edit `report/curves.py`", code("report/curves"), {"training": named("curves *", words="curves")}),
    Row("edit `report/leaderboard.py`", code("report/leaderboard"), {"leaderboard": LEADERBOARD}),
    Row("edit `report/gallery.py`", code("report/gallery"), {"page": PAGE}),
    Row("edit the style sheet of the page", style, {"page": PAGE}),
    Row("edit docstrings", docstrings, {}),
    Row("comments and blank lines in the whole package", comments, {}),
    Row("edit `core/errors.py` and `cli/main.py`", overlooked, {}),
    Row("edit `core/files.py`, `core/gpus.py` and `core/parallel.py`", plumbing, {}),
    Row("check out the same commit again", check_out, {}),
    Row("delete `.snakemake`", without_notes, {}),
    Row("edit a caption of the report", caption, {}),
    Row("edit the resources, the message and the priority of a rule", resources, {}),
    Row(
        "delete the predictions of `a` on validation samples",
        remove("predictions/a/validation/probability"),
        scored_anew("a", prediction=named("a validation", words="a (validation)")),
    ),
    Row("delete a checkpoint of `u`", remove("models/u/best.pt"), trained_anew("u")),
    Row("delete a test shard", with_shard(deleted_shard, "test"), scored_anew("a", "u", splits="test", shards=ITS)),
    Row("delete the page", remove("report.html"), {"page": PAGE}),
    Row("delete the leaderboard", remove("leaderboard.csv"), {"leaderboard": LEADERBOARD}),
    Row("corrupt a training shard by hand", with_shard(corrupt, "train"), trained_anew("a", "u", looked_at=True)),
]


def matching(patterns, jobs):
    return {job for job in jobs if any(fnmatch.fnmatchcase(job, pattern) for pattern in patterns)}


def as_table():
    """Write the matrix as the table of the docs."""
    lines = [
        f"| edit | {' | '.join(STAGES)} |",
        "|---" * (len(STAGES) + 1) + "|",
        *(f"| {' | '.join([row.edit, *(row.cell(stage).words for stage in STAGES)])} |" for row in ROWS),
    ]
    return "\n".join(lines) + "\n"


def with_table(page):
    """Return a page with the table of today in the place of the one that begins with the column `edit`."""
    start = page.index("| edit |")
    end = page.index("\n\n", start) + 1
    return page[:start] + as_table() + page[end:]
