"""``python -m toy_command``: the command line of asdbench with the toy plugin beside the installed ones."""

from __future__ import annotations

import toy_plugin

from asdbench import cli, registry


def main() -> None:
    """Run the command line."""
    load = registry.load_registry

    def with_toy() -> registry.Registry:
        loaded = load()
        loaded.add(registry.Plugin(name="toy"), toy_plugin)
        return loaded

    import asdbench.cli.run

    asdbench.cli.run.load_registry = with_toy  # type: ignore[assignment]
    cli.main()


if __name__ == "__main__":
    main()
