"""The rerun matrix: edits, and the jobs that have to run after each of them.

A job is named by its wildcards, such as ``d train 0`` for a shard. A cell has the text for the table in the docs, and
patterns of the jobs that have to run; jobs that match no pattern must not run.
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
SALT_BASELINES = ("r.all-background", "r.resolution-ceiling")
OLD_TIME = (1_500_000_000, 1_500_000_000)


class Cell(NamedTuple):
    text: str
    must: tuple[str, ...] = ()


class Row(NamedTuple):
    edit: str
    apply: Callable
    cells: dict[str, Cell]

    def cell(self, stage):
        """Return the cell of a stage; the page runs again with the checks, renderings and tables that it shows."""
        page_runs = stage == "page" and any(self.cells.get(name) for name in ("check", "images", *TABLES))
        return self.cells.get(stage, PAGE if page_runs else NOTHING)


NOTHING = Cell("")
ALL = Cell("all", ("*",))
LEADERBOARD = Cell("yes", ("leaderboard",))
TABLES = {"comparisons": Cell("yes", ("comparisons",)), "leaderboard": LEADERBOARD}
PAGE = Cell("yes", ("page",))


def jobs_named(*names, text=None):
    return Cell(text or ", ".join(names), names)


def rescored(*experiments, splits="*", **other):
    """Cells from predictions to the leaderboard; a chosen threshold depends only on validation images."""
    with_threshold = [name for name in experiments if name == "a" and splits != "test"]
    predictions = tuple(f"{name} {splits}" for name in experiments)
    text = ", ".join(experiments) + (f" ({splits})" if splits != "*" else "")
    return {
        "prediction": Cell(text, predictions),
        "threshold": jobs_named(*with_threshold) if with_threshold else NOTHING,
        "images": Cell(text, (*predictions, *(f"{name} *" for name in with_threshold))),
        "scores": jobs_named(*experiments),
        **TABLES,
        **other,
    }


def retrained(*experiments, previewed=False, **other):
    """Cells from training to the leaderboard; with `previewed`, also the figure of augmented samples."""
    jobs = [job for name in experiments for job in (name, f"curves {name}")]
    jobs += [f"augmented {name}" for name in experiments if previewed]
    return {"training": Cell(", ".join(experiments), tuple(jobs)), **rescored(*experiments), **other}


def checked(dataset, listed=True):
    return Cell(dataset, (f"check {dataset}", *([f"splits {dataset}"] if listed else [])))


# -- edits ------------------------------------------------------------------------------------------------------------


def nothing(project):
    pass


def touch_raw(project):
    for path in (project.folder / "raw").rglob("*.*"):
        path.touch()


def change(folder, number):
    def edit(project):
        path = project.folder / f"raw/DRIVE/{folder}/images/{number:02d}_{folder}.tif"
        write_tif(path, blobs(99)[1], photometric="rgb")
        return {"@own": [project.shard_of(f"{number:02d}")]}

    return edit


def with_old_times(edit):
    """Give all raw files a time long before the results, as ``cp -p``, ``rsync -a`` and archives do."""

    def edit_and_age(project):
        names = edit(project)
        for path in (project.folder / "raw").rglob("*.*"):
            os.utime(path, OLD_TIME)
        return names

    return edit_and_age


def shift_mask(name, number):
    """Shift the contents of a mask or field of view by 9 pixels."""

    def edit(project):
        path = project.folder / "raw/DRIVE" / name
        with Image.open(path) as image:
            moved = Image.fromarray(np.roll(np.array(image), 9, axis=1), image.mode)
            if image.getpalette():
                moved.putpalette(image.getpalette())
        moved.save(path)
        return {"@own": [project.shard_of(f"{number:02d}")]}

    return edit


def swap_test_images(project):
    folder = project.folder / "raw/DRIVE/test/images"
    for old, new in (("01_test.tif", "x"), ("02_test.tif", "01_test.tif"), ("x", "02_test.tif")):
        (folder / old).rename(folder / new)
    return {"@own": [project.shard_of(name) for name in ("01", "02")]}


def edit_sample_list(project):
    (project.folder / "raw/salt/validation.txt").write_text("tile003\ntile006\n")


def edit_table_row(project):
    path = project.folder / "raw/salt/train.csv"
    lines = path.read_text().splitlines()
    number = next(number for number, line in enumerate(lines) if line.startswith("tile003,"))
    lines[number] = "tile003,1 50"
    path.write_text("\n".join(lines) + "\n")


def delete_snakemake_records(project):
    shutil.rmtree(project.folder / ".snakemake")


def moving(edit, at_most):
    """Apply an edit of raw files, and return the shards whose samples change."""

    def apply(project):
        old_members = project.members()
        edit(project.folder / "raw/DRIVE")
        changed = [name for name, members in project.members().items() if old_members.get(name) != members]
        assert 1 <= len(changed) <= at_most
        return {"@changed": changed}

    return apply


def of_sample(root, folder, number):
    return [path for path in (root / folder).rglob("*.*") if path.name.startswith(f"{number:02d}_")]


def delete(folder, number):
    def edit(root):
        for path in of_sample(root, folder, number):
            path.unlink()

    return edit


def rename(folder, old, new):
    def edit(root):
        for path in of_sample(root, folder, old):
            path.rename(path.with_name(path.name.replace(f"{old:02d}_", f"{new:02d}_", 1)))

    return edit


def configure(old, new):
    """Replace the first occurrence, which is that of `a`."""

    def edit(project):
        project.replace("config.yaml", old, new)

    return edit


def exclude_sample(project):
    shard = project.shard_of("02")
    project.edit("{fraction: 0.34}", '{fraction: 0.34}, exclude: {"02": "blurred"}')
    return {"@own": [shard]}


def configure_all(project):
    project.config.write_text("# a comment\n\n" + project.config.read_text().replace("lr: 0.02", "lr:   2.0e-2"))


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
    project.replace("pipeline/models/unet.py", '"""', '"""A sentence more. ')
    project.replace("pipeline/shards/prepare.py", '"""', '"""A sentence more. ')


def edit_messages(project):
    code("core/errors", "cli/main")(project)


def edit_utilities(project):
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
    project.append("workflow/report/leaderboard.rst", "\nAnother sentence.\n")


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
    """Apply an edit to the first shard of a split of d."""

    def apply(project):
        name = first_shard(split)(project)
        _, _, number = name.split()
        edit(f"d/{split}-{number}.h5")(project)
        return {"@own": [name]}

    return apply


def deleted_shard(name):
    return remove(f"shards/{name}")


# -- the matrix -------------------------------------------------------------------------------------------------------

OWN_SHARDS = jobs_named("@own", text="its own")
CHANGED_SHARDS = jobs_named("@changed", text="whose samples changed")


def retested(**other):
    """Cells after a change of a test sample of d, on which no threshold depends."""
    text = f"a, u, {OBSERVER} (test)"
    images = Cell(text, tuple(f"{name} test" for name in ("a", "u", OBSERVER)))
    return {**rescored("a", "u", splits="test"), "images": images, **other}


def test_split_changed(**other):
    """Cells after a change of the test split of d, which changes its baselines, too."""
    predictions = Cell("a, u, baselines (test)", tuple(f"{name} test" for name in ("a", "u", *BASELINES)))
    scores = jobs_named("a", "u", *BASELINES, text="a, u, baselines")
    return retested(check=checked("d"), prediction=predictions, scores=scores, **other)


def test_mask_changed(**other):
    """Cells after a change of a test mask or field of view: two baselines are made of masks, and scores need both."""
    jobs = tuple(f"{name} test" for name in ("a", "u", *BASELINES[1:]))
    scores = jobs_named("a", "u", *BASELINES, text="a, u, baselines")
    predictions = Cell("a, u, two baselines (test)", jobs)
    return retested(check=checked("d", listed=False), prediction=predictions, scores=scores, **other)


ENSEMBLE = ("a.ensemble test", "a.ensemble out-of-fold")

ROWS = [
    Row("nothing", nothing, {}),
    Row("touch all raw files", touch_raw, {}),
    Row(
        "change a training image",
        change("training", 22),
        retrained("a", "u", previewed=True, check=checked("d", listed=False), shards=OWN_SHARDS),
    ),
    Row("change a test image", change("test", 2), retested(check=checked("d", listed=False), shards=OWN_SHARDS)),
    Row(
        "change a training image, with an old time",
        with_old_times(change("training", 22)),
        retrained("a", "u", previewed=True, check=checked("d", listed=False), shards=OWN_SHARDS),
    ),
    Row(
        "change a training mask, with an old time",
        with_old_times(shift_mask("training/1st_manual/22_manual1.gif", 22)),
        retrained("a", "u", previewed=True, check=checked("d", listed=False), shards=OWN_SHARDS),
    ),
    Row(
        "change a test mask, with an old time",
        with_old_times(shift_mask("test/1st_manual/02_manual1.gif", 2)),
        test_mask_changed(shards=OWN_SHARDS),
    ),
    Row(
        "change a field of view of a test image, with an old time",
        with_old_times(shift_mask("test/mask/02_test_mask.gif", 2)),
        test_mask_changed(shards=OWN_SHARDS),
    ),
    Row(
        "change a mask of the second observer, with an old time",
        with_old_times(shift_mask("test/2nd_manual/02_manual2.gif", 2)),
        {
            "check": checked("d", listed=False),
            "prediction": Cell(f"{OBSERVER} (test)", (f"{OBSERVER} test",)),
            "images": Cell(f"{OBSERVER} (test)", (f"{OBSERVER} test",)),
            "scores": jobs_named(OBSERVER),
            **TABLES,
        },
    ),
    Row(
        "swap two test images, with old times",
        with_old_times(swap_test_images),
        retested(check=checked("d", listed=False), shards=OWN_SHARDS),
    ),
    Row(
        "change the list of validation samples of `r`, with an old time",
        with_old_times(edit_sample_list),
        {
            "check": checked("r"),
            "shards": jobs_named("r train 0", "r validation 0", text="r (train, validation)"),
            "leaderboard": LEADERBOARD,
        },
    ),
    Row(
        "change a row of the table of masks of `r`, with an old time",
        with_old_times(edit_table_row),
        {
            "check": checked("r", listed=False),
            "shards": jobs_named("r validation 0", text="r (validation)"),
            "leaderboard": LEADERBOARD,
        },
    ),
    Row(
        "add a training image",
        moving(lambda root: add_drive(root, "training", 40), at_most=3),
        retrained("a", "u", previewed=True, check=checked("d"), shards=CHANGED_SHARDS),
    ),
    Row(
        "add a test image",
        moving(lambda root: add_drive(root, "test", 9), at_most=1),
        test_split_changed(shards=CHANGED_SHARDS),
    ),
    Row(
        "delete a test image",
        moving(delete("test", 1), at_most=1),
        test_split_changed(shards=CHANGED_SHARDS),
    ),
    Row(
        "rename a test image",
        moving(rename("test", 1, 17), at_most=2),
        test_split_changed(shards=jobs_named("@changed", text="at most the old and the new one")),
    ),
    Row(
        "rename a training image",
        moving(rename("training", 23, 37), at_most=4),
        retrained("a", "u", previewed=True, check=checked("d"), shards=CHANGED_SHARDS),
    ),
    Row(
        "exclude a test sample (`exclude`)",
        exclude_sample,
        test_split_changed(
            shards=OWN_SHARDS,
            threshold=jobs_named("a"),
            images=Cell(f"a, u, {OBSERVER}", ("a *", "u *", f"{OBSERVER} *")),
        ),
    ),
    Row("whitespace, comments, `0.02` as `2.0e-2`", configure_all, {}),
    Row("order of keys", configure("{name: adam, lr: 0.02}", "{lr: 0.02, name: adam}"), {}),
    Row("learning rate of `a`", configure("lr: 0.02", "lr: 0.01"), retrained("a")),
    Row("batch size of `a`", configure("batch_size: 2", "batch_size: 3"), retrained("a")),
    Row("seed of `a`", configure("epochs: 1\n", "epochs: 1\n    seed: 5\n"), retrained("a", previewed=True)),
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
        rescored("a", prediction=NOTHING),
    ),
    Row(
        "criterion of the threshold of `a`",
        configure("threads: 1", "threads: 1\n    threshold: {metric: iou, averaging: macro}"),
        rescored("a", prediction=NOTHING),
    ),
    Row(
        "`empty_masks` of `a`",
        configure("threads: 1", "threads: 1\n    empty_masks: skip"),
        {"scores": jobs_named("a"), **TABLES},
    ),
    Row(
        "colours of the classes of `c`",
        configure("#ff8000", "#0080ff"),
        {"check": checked("c", listed=False), "images": jobs_named("m *", text="m"), "leaderboard": LEADERBOARD},
    ),
    Row(
        "image size of `d`",
        configure("size: [32, 32], shards: 3", "size: [48, 32], shards: 3"),
        retrained(
            "a",
            "u",
            previewed=True,
            shards=jobs_named("d *", text="d"),
            prediction=Cell("a, u, d.resolution-ceiling", ("a *", "u *", "d.resolution-ceiling test")),
            scores=jobs_named("a", "u", "d.resolution-ceiling"),
        ),
    ),
    Row(
        "add an experiment",
        configure(
            "experiments:",
            "experiments:\n  n: {dataset: c, model: {name: unet-crop, widths: [4, 8]}, "
            "loss: cross-entropy, optimizer: {name: sgd, lr: 0.1}, batch_size: 2, epochs: 1, threads: 1}",
        ),
        retrained("n", previewed=True),
    ),
    Row("remove an experiment", remove_experiment, TABLES),
    Row(
        "add a data set",
        add_data_set,
        {
            "check": checked("t"),
            "shards": jobs_named("t *", text="t"),
            "prediction": jobs_named("t.* test", text="baselines of t"),
            "threshold": jobs_named("t.*", text="baselines of t"),
            "scores": jobs_named("t.*", text="baselines of t"),
            **TABLES,
        },
    ),
    Row("edit `models/unet.py`", code("models/unet"), retrained("a")),
    Row("edit `models/u2net.py`", code("models/u2net"), retrained("u")),
    Row(
        "edit `raw/layouts/folder.py`",
        code("raw/layouts/folder"),
        retrained("m", previewed=True, check=checked("c"), shards=jobs_named("c *", text="c")),
    ),
    Row(
        "edit `shards/prepare.py`",
        code("shards/prepare"),
        retrained("a", "u", "m", previewed=True, shards=ALL, prediction=ALL, images=ALL, scores=ALL),
    ),
    Row("edit `training/losses.py`", code("training/losses"), retrained("a", "u", "m")),
    Row(
        "edit `training/augment/augmentation.py`",
        code("training/augment/augmentation"),
        retrained("a", "u", "m", previewed=True),
    ),
    Row("edit `prediction/tiles.py`", code("prediction/tiles"), rescored("a", "u", "m")),
    Row(
        "edit `evaluation/metrics.py`",
        code("evaluation/metrics"),
        {
            "threshold": jobs_named("a", "u", *BASELINES, *SALT_BASELINES, text="a, u, baselines"),
            "images": jobs_named("a *", "u *", f"{OBSERVER} *", text=f"a, u, {OBSERVER}"),
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
            "threshold": jobs_named("a", "u", *BASELINES, *SALT_BASELINES, text="a, u, baselines"),
            "images": jobs_named("a *", "u *", f"{OBSERVER} *", text=f"a, u, {OBSERVER}"),
            "scores": jobs_named("a", "u", *BASELINES, *SALT_BASELINES, text="a, u, baselines"),
            **TABLES,
        },
    ),
    Row("edit `evaluation/renderings.py`", code("evaluation/renderings"), {"images": ALL}),
    Row("edit `report/curves.py`", code("report/curves"), {"training": jobs_named("curves *", text="curves")}),
    Row("edit `report/leaderboard.py`", code("report/leaderboard"), {"leaderboard": LEADERBOARD}),
    Row("edit `report/gallery.py`", code("report/gallery"), {"page": PAGE}),
    Row("edit the style sheet of the page", style, {"page": PAGE}),
    Row("edit docstrings", docstrings, {}),
    Row("edit comments and blank lines in all modules", comments, {}),
    Row("edit `core/errors.py` and `cli/main.py`", edit_messages, {}),
    Row("edit `core/files.py`, `core/gpus.py` and `core/parallel.py`", edit_utilities, {}),
    Row("check out the same commit again", check_out, {}),
    Row("delete `.snakemake`", delete_snakemake_records, {}),
    Row("edit a caption of the report", caption, {}),
    Row("edit the resources, the message and the priority of a rule", resources, {}),
    Row(
        "delete the predictions of `a` on validation samples",
        remove("predictions/a/validation/probability"),
        rescored("a", prediction=jobs_named("a validation", text="a (validation)")),
    ),
    Row("delete a checkpoint of `u`", remove("models/u/best.pt"), retrained("u")),
    Row("delete a test shard", with_shard(deleted_shard, "test"), rescored("a", "u", splits="test", shards=OWN_SHARDS)),
    Row("delete the page", remove("report.html"), {"page": PAGE}),
    Row("delete the leaderboard", remove("leaderboard.csv"), {"leaderboard": LEADERBOARD}),
    Row("corrupt a training shard by hand", with_shard(corrupt, "train"), retrained("a", "u", previewed=True)),
]


def matching(patterns, jobs):
    return {job for job in jobs if any(fnmatch.fnmatchcase(job, pattern) for pattern in patterns)}


def as_table():
    """Return the matrix as the Markdown table of the docs."""
    lines = [
        f"| edit | {' | '.join(STAGES)} |",
        "|---" * (len(STAGES) + 1) + "|",
        *(f"| {' | '.join([row.edit, *(row.cell(stage).text for stage in STAGES)])} |" for row in ROWS),
    ]
    return "\n".join(lines) + "\n"


def with_table(page):
    """Return a page with its table, whose first column is `edit`, replaced by the current one."""
    start = page.index("| edit |")
    end = page.index("\n\n", start) + 1
    return page[:start] + as_table() + page[end:]
