r"""Label Studio: tasks.json to import, config.xml for the project, and its JSON export on the way
back.

"Basic Label Studio JSON format" (labelstud.io/guide/tasks, and /guide/predictions,
/guide/task_format): a list of tasks

    {"data": {"image": URL, …}, "predictions": [{"model_version", "score", "result": [R, …]}],
        "annotations": [{"result": [R, …], "was_cancelled",
     "created_at", "updated_at", "completed_by"}]}        R = {"id", "type": "choices", "from_name",
                                                          "to_name", "value": {"choices": [NAME,
                                                          …]}}

where from_name and to_name are those of the labelling configuration (`<Choices name toName
choice="single|multiple">`, `<Number>`, `<TextArea>`), ids of results differ, and "data" may hold
more than is shown. Media on the server's disk are `/data/local-files/?d=PATH`, from
LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT (/guide/storage, "Local storage").

A reviewer chooses a label: the given one keeps the sample, another one relabels it. `verdict` is
for what is no label: drop, skip.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from dqpipe import (
    Answer,
    ConfigError,
    DatasetError,
    Exchange,
    Handed,
    HandedOver,
    Media,
    Ruling,
    Written,
    __version__,
    extension,
)
from dqpipe_exchange.outgoing import as_json, asked_of, label_said, tags_of, xml
from dqpipe_exchange.parsing import json_of

PREFIX = "/data/local-files/?d="
SHOWN, LABEL, VERDICT, REVIEWER = "sample", "label", "verdict", "reviewer"
"""Names in the labelling configuration."""


@extension
class LabelStudio(Exchange):
    """Label Studio's tasks and labelling configuration; its JSON export is read back."""

    name = "label-studio"
    answers = True
    endings = (".json",)

    def write(self, queue: HandedOver, media: Media) -> Written:
        """Tasks and the labelling configuration. Raises ConfigError."""
        if queue.kind == "other":
            raise ConfigError(
                "these labels are structs, which Label Studio's choices cannot say: hand them over "
                "as csv"
            )
        tasks = [_task(queue, item, media) for item in queue.items]
        pictures = any(item.media is not None for item in queue.items)
        files = {
            "tasks.json": as_json(tasks, indent=1),
            "config.xml": _config(queue, pictures=pictures).encode(),
        }
        root = media.media_root or str(Path(queue.root).parent)
        served = (
            f" (LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true, "
            f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={root}, a Local storage of the project)"
        )
        steps = [
            (
                "Label Studio: paste config.xml into Settings > Labeling Interface > Code, then "
                "import tasks.json"
            )
        ]
        steps += (
            [
                "it must be able to serve the files"
                + (served if media.prefix is None else f" at {media.prefix}…")
            ]
            if pictures
            else []
        )
        return Written(files, [*steps, "afterwards: Export > JSON, then dqpipe import FILE"])

    def read(self, data: bytes) -> list[Answer]:
        """The answers of a JSON export. Raises DatasetError."""
        tasks = json_of(data)
        if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
            raise DatasetError("this is no JSON export of Label Studio: a list of tasks is wanted")
        if tasks and not any("data" in task for task in tasks):
            raise DatasetError("these tasks have no data: export as JSON, not as JSON-MIN")
        return [
            answer
            for number, task in enumerate(tasks, 1)
            for answer in _answers(task, f"task {_number(task.get('id'), number)}")
        ]


def _number(value: object, number: int) -> int:
    """The id of a task, or its place in the file."""
    return value if isinstance(value, int) else number


def _task(queue: HandedOver, item: Handed, media: Media) -> dict[str, Any]:
    shown = (
        {"text": item.text or item.id}
        if item.media is None
        else {"image": media.link(queue, item, PREFIX)}
    )
    asked = asked_of(item)
    why = ", ".join(
        code if confidence is None else f"{code} ({confidence:.2f})"
        for code, confidence, _ in item.claims
    )
    data = {
        **shown,
        "dqpipe_id": item.id,
        "dqpipe_content": item.content,
        "dqpipe_label": item.label,
        "dqpipe_code": asked["code"],
        "dqpipe_why": f"label: {item.label}; {item.decision}: {why}",
    }
    task: dict[str, Any] = {"data": data}
    if asked["suggestion"] is not None:
        result = _labelled(queue, item, asked["suggestion"], "suggested")
        task["predictions"] = [
            {
                "model_version": f"dqpipe {__version__}",
                "score": asked["confidence"] or 0.0,
                "result": result,
            }
        ]
    if item.said:
        task["annotations"] = [_annotation(queue, item, verdict) for verdict in item.said]
    return task


def _annotation(queue: HandedOver, item: Handed, verdict: Ruling) -> dict[str, Any]:
    seed = f"said by {verdict.reviewer}"
    result = (
        [_result(item, seed, REVIEWER, "textarea", {"text": [verdict.reviewer]})]
        if verdict.reviewer
        else []
    )
    if verdict.verdict in ("drop", "skip"):
        result.append(_result(item, seed, VERDICT, "choices", {"choices": [verdict.verdict]}))
    elif (label := label_said(item, verdict)) is None:
        result.append(_result(item, seed, VERDICT, "choices", {"choices": ["keep"]}))
    else:
        result += _labelled(queue, item, label, seed)
    return {"result": result, "was_cancelled": False, "created_at": verdict.time}


def _labelled(queue: HandedOver, item: Handed, label: str, seed: str) -> list[dict[str, Any]]:
    if queue.kind == "numbers":
        return [_result(item, seed, LABEL, "number", {"number": json.loads(label)})]
    return [_result(item, seed, LABEL, "choices", {"choices": tags_of(queue, label)})]


def _result(item: Handed, seed: str, name: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    unique = hashlib.sha256(json.dumps([item.id, seed, name]).encode()).hexdigest()[:12]
    return {"id": unique, "type": kind, "from_name": name, "to_name": SHOWN, "value": value}


def _config(queue: HandedOver, *, pictures: bool) -> str:
    shown = (
        f'<Image name="{SHOWN}" value="$image" zoom="true"/>'
        if pictures
        else f'<Text name="{SHOWN}" value="$text"/>'
    )
    choices = "".join(f'\n    <Choice value="{xml(name)}"/>' for name in queue.classes)
    many = "multiple" if queue.kind == "tags" else "single"
    label = f'<Choices name="{LABEL}" toName="{SHOWN}" choice="{many}">{choices}\n  </Choices>'
    if queue.kind == "numbers":
        label = f'<Number name="{LABEL}" toName="{SHOWN}"/>'
    return f"""<View>
  {shown}
  <Text name="why" value="$dqpipe_why"/>
  {label}
  <Choices name="{VERDICT}" toName="{SHOWN}" choice="single" showInline="true">
    <Choice value="keep"/>
    <Choice value="drop"/>
    <Choice value="skip"/>
  </Choices>
  <TextArea name="{REVIEWER}" toName="{SHOWN}" placeholder="who you are, if your account does not say" maxSubmissions="1"/>
</View>
"""  # noqa: E501


def _answers(task: dict[str, Any], where: str) -> list[Answer]:
    data, annotations = task.get("data"), task.get("annotations", [])
    if not isinstance(data, dict) or not isinstance(data.get("dqpipe_id"), str):
        return [Answer(where, problem="is a task that dqpipe did not make (no dqpipe_id)")]
    if not isinstance(annotations, list) or not all(isinstance(one, dict) for one in annotations):
        return [Answer(where, problem="has annotations of another shape than Label Studio's")]
    content, given, code = (
        value if isinstance(value := data.get(f"dqpipe_{name}"), str) else None
        for name in ("content", "label", "code")
    )
    about: dict[str, Any] = {
        "id": data["dqpipe_id"],
        "content": content,
        "given": given,
        "knows_given": "dqpipe_label" in data,
        "code": code,
    }
    return [Answer(where, **about, **_said(one)) for one in annotations] or [Answer(where, **about)]


def _said(annotation: dict[str, Any]) -> dict[str, Any]:
    """What one annotation says, as fields of an answer."""
    by = annotation.get("completed_by")
    name = by.get("email") or by.get("username") if isinstance(by, dict) else None
    time = annotation.get("updated_at") or annotation.get("created_at")  # an answer may be changed
    fields: dict[str, Any] = {
        "reviewer": name if isinstance(name, str) else None,
        "time": time if isinstance(time, str) else None,
        "annotator": by if isinstance(by, int) else None,
    }
    if annotation.get("was_cancelled") is True:
        return fields | {"verdict": "skip"}
    result = annotation.get("result", [])
    if not isinstance(result, list) or not all(
        isinstance(one, dict) and isinstance(one.get("value", {}), dict) for one in result
    ):
        return fields | {"problem": "has a result of another shape than Label Studio's"}
    for one in result:
        fields |= _field(one.get("from_name"), one.get("value", {}))
    return fields


def _field(name: object, value: dict[str, Any]) -> dict[str, Any]:
    choices, texts, number = value.get("choices"), value.get("text"), value.get("number")
    chosen = [one for one in choices if isinstance(one, str)] if isinstance(choices, list) else []
    if name == REVIEWER:
        written = texts[0] if isinstance(texts, list) and texts else texts
        return {"reviewer": written} if isinstance(written, str) and written.strip() else {}
    if name == VERDICT and chosen:
        return {"verdict": chosen[0]} if len(chosen) == 1 else {"problem": "has two answers"}
    if name == LABEL and isinstance(number, (int, float)) and not isinstance(number, bool):
        return {"label": json.dumps(number)}
    if name == LABEL and chosen:
        return {"chosen": tuple(chosen)}
    return {}
