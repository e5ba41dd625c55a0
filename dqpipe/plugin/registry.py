"""Plugins, ours and a stranger's alike.

Packages found by their entry point in the group "dqpipe".
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import inspect
import logging
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar, cast

import pluggy

from dqpipe.errors import PlanError, PluginError, listed, nearest
from dqpipe.plugin import hooks as hookspecs
from dqpipe.plugin.kinds import KINDS
from dqpipe.plugin.stage import Augment, Encoder, Extension

log = logging.getLogger(__name__)
GROUP = "dqpipe"
E_ = TypeVar("E_", bound=Extension)


def discover(package: str) -> list[type[Extension]]:
    """Every extension in the modules of a package, by module and name.

    A file dropped into it is all that it takes.
    """
    root = importlib.import_module(package)
    found: dict[str, type[Extension]] = {}
    for info in sorted(pkgutil.walk_packages(root.__path__, package + "."), key=lambda i: i.name):
        module = importlib.import_module(info.name)
        for name, member in sorted(vars(module).items()):
            if not inspect.isclass(member) or not issubclass(member, Extension):
                continue
            if (
                member.__module__ == module.__name__
                and dataclasses.is_dataclass(member)
                and member.name
            ):
                found[f"{info.name}.{name}"] = member
    return list(found.values())


@dataclass(frozen=True)
class Registry:
    """The extensions by kind and name, who brought each, and the plugins that failed to load."""

    extensions: Mapping[tuple[type[Extension], str], type[Extension]]
    origin: Mapping[tuple[type[Extension], str], str]
    broken: Mapping[str, str] = field(default_factory=dict)
    hooks: Any = None
    manager: Any = None

    def watch(self, name: str, observer: object) -> None:
        """Let one more observer see runs driven with this registry."""
        self.manager.register(observer, name=name)

    def names(self, kind: type[Extension]) -> list[str]:
        """The names of the extensions of a kind, sorted."""
        return sorted(name for of, name in self.extensions if of is kind)

    def get(self, kind: type[E_], name: str) -> type[E_]:
        """The extension of this kind and name.

        PluginError with the nearest right name, and the plugins that failed.
        """
        if (kind, name) not in self.extensions:
            raise PluginError(
                f"no {kind.__name__.lower()} is called {name!r}: "
                f"{nearest(name, self.names(kind))}{self.failed()}"
            )
        return self.extensions[kind, name]  # type: ignore[return-value]

    def failed(self) -> str:
        """The plugins that failed to load and why, a line each, for the end of a message."""
        return "".join(
            f"\n  plugin {plugin} failed to load: {why}" for plugin, why in self.broken.items()
        )

    def all(self, kind: type[E_]) -> list[type[E_]]:
        """The extensions of a kind, by name."""
        return [self.get(kind, name) for name in self.names(kind)]

    def notify(self, hook: str, **record: Mapping[str, Any]) -> None:
        """Tell every observer; one that raises is logged by name and the run goes on."""
        for implementation in getattr(self.hooks, hook).get_hookimpls():
            frozen = {name: MappingProxyType(dict(value)) for name, value in record.items()}
            try:
                implementation.function(**{name: frozen[name] for name in implementation.argnames})
            except Exception:
                log.exception(
                    "observer %s of plugin %s raised; the run goes on",
                    hook,
                    implementation.plugin_name,
                )

    def instances(self, kind: type[E_]) -> tuple[E_, ...]:
        """All extensions of a kind with the options that they have by default, by name."""
        return tuple(cls() for cls in self.all(kind))

    def encoder(self, augment: Augment) -> Encoder:
        """What writes the samples that an augmentation makes. Raises PlanError."""
        known = {cls.name: cls for cls in self.all(Encoder)}
        if augment.encoder in known:
            return known[augment.encoder]()
        if not augment.encoder and len(known) == 1:
            return next(iter(known.values()))()
        wanted = (
            f"no encoder is called {augment.encoder!r}"
            if augment.encoder
            else "it names no encoder"
        )
        raise PlanError(
            f"{augment.name} cannot write what it makes: {wanted}; there are: "
            f"{listed(known) or 'none'}"
        )

    def objections(self, plan: Mapping[str, Any]) -> list[str]:
        """What plugins say against a plan."""
        found = []
        for implementation in self.hooks.dqpipe_plan.get_hookimpls():
            try:
                said = implementation.function(
                    **({"plan": MappingProxyType(dict(plan))} if implementation.argnames else {})
                )
            except Exception as error:
                raise PluginError(
                    f"plugin {implementation.plugin_name} failed while it looked at the plan: "
                    f"{type(error).__name__}: {error}"
                ) from error
            if said:
                found.append(f"plugin {implementation.plugin_name}: {said}")
        return found


def kind_of(cls: type[Extension]) -> type[Extension]:
    """The kind an extension class belongs to."""
    return next(kind for kind in KINDS if issubclass(cls, kind))


def load(without: Iterable[str] = (), extra: Mapping[str, object] | None = None) -> Registry:
    """All installed plugins except those named in `without`, plus `extra` (name → module or object
    with hooks).

    A plugin that cannot be imported is named in `broken` and takes no other down. Raises
    PluginError if two plugins claim one name, or if `without` names no plugin.
    """
    entries = {entry.name: entry for entry in sorted(_entries(), key=lambda e: (e.name, e.value))}
    unknown = [name for name in without if name not in entries]
    if unknown:
        raise PluginError(f"no plugin is called {unknown[0]!r}: {nearest(unknown[0], entries)}")
    loaders: dict[str, Callable[[], object]] = {
        n: e.load for n, e in entries.items() if n not in set(without)
    }
    loaders |= {name: partial(_same, plugin) for name, plugin in (extra or {}).items()}
    return _collect(loaders)


def _same(plugin: object) -> object:
    return plugin


def _entries() -> list[importlib.metadata.EntryPoint]:
    """Entry points of the group.

    Two distributions that use one name for different packages clash.
    """
    found: dict[str, importlib.metadata.EntryPoint] = {}
    for entry in importlib.metadata.entry_points(group=GROUP):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise PluginError(
                f"plugin name {entry.name!r} is claimed by {other.value} and by {entry.value}: "
                f"uninstall one"
            )
    return list(found.values())


def _collect(loaders: Mapping[str, Callable[[], object]]) -> Registry:
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    extensions: dict[tuple[type[Extension], str], type[Extension]] = {}
    origin: dict[tuple[type[Extension], str], str] = {}
    broken: dict[str, str] = {}
    for plugin, loader in loaders.items():
        try:
            module = loader()
            manager.register(module, name=plugin)
            manager.check_pending()
            hooks = [
                impl.function
                for impl in manager.hook.dqpipe_register.get_hookimpls()
                if impl.plugin_name == plugin
            ]
            brought = [cls for hook in hooks for cls in cast("Iterable[type[Extension]]", hook())]
        except Exception as error:  # noqa: BLE001 (a stranger's import may raise anything; it is reported, not swallowed)
            broken[plugin] = f"{type(error).__name__}: {error}"
            if manager.has_plugin(plugin):
                manager.unregister(name=plugin)
            continue
        for cls in brought:
            key = (kind_of(cls), cls.name)
            if key in extensions:
                raise PluginError(
                    f"{key[0].__name__.lower()} {cls.name!r} is claimed by plugin {origin[key]} "
                    f"and by plugin {plugin}"
                )
            extensions[key], origin[key] = cls, plugin
    return Registry(extensions, origin, broken, manager.hook, manager)
