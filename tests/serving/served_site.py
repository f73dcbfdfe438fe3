"""A site with deployments, made without training: rows and artefact trees as the road would leave them."""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from tuneward.domain.base import Base
from tuneward.domain.dataset import Dataset
from tuneward.domain.evaluation import Evaluation
from tuneward.domain.run import Adapter, Run
from tuneward.domain.version import Deployment, ModelVersion
from tuneward.governance import api_keys, audit, members
from tuneward.governance.keys import Keys
from tuneward.governance.office import Office
from tuneward.governance.policies import load_policy
from tuneward.ids import new_id
from tuneward.storage.database import now
from tuneward.storage.repository import find, insert_many, update
from tuneward.storage.site import Site

FAKE_ENGINE = (sys.executable, str(Path(__file__).with_name("fake_engine.py")))


@dataclass
class ServedSite:
    office: Office
    folder: Path
    base: str
    key: str
    key_id: str

    @classmethod
    def make(cls, folder: Path, *, base: Path | None = None) -> "ServedSite":
        site = Site.create(folder / ".tuneward")
        office = Office(site, Keys.create(site.keys_folder), "ada", load_policy("solo"))
        members.found(office)
        text, key = api_keys.create(office, "tests", "ada")
        made = cls(office, folder, "", text, key.id)
        made.base = made.add_base("weights", base)
        return made

    def add_base(self, weights: str, folder: Path | None = None) -> str:
        store = self.office.site.artifacts
        tree = store.put_tree(folder) if folder else self._tree({"model.safetensors": weights, "config.json": "{}"})
        with self.office.site.database.write() as c:
            insert_many(c, [Base(tree, f"base of {weights}", {}, "Apache-2.0", "LlamaForCausalLM", 1, 512, now())])
        return tree

    def deploy(
        self,
        alias: str,
        *,
        weights: str = "",
        adapter: Path | None = None,
        system: str | None = None,
        base: str = "",
        precision: str | None = None,
        kind: str = "lora",
    ) -> Deployment:
        """Everything behind a deployment, and the deployment, which replaces the alias's last one."""
        site, base = self.office.site, base or self.base
        files = {"adapter_config.json": "{}", "adapter_model.safetensors": weights or alias}
        digest = site.artifacts.put_tree(adapter) if adapter else self._tree(files)
        canary = {"precision": precision} if precision else {}
        dataset = Dataset(new_id("dat"), "p", "f", "t", new_id("i"), base, 1, 1, {}, now())
        run = Run(new_id("run"), "p", dataset.id, None, base, {}, "i", 0, "finished", now(), now(), {}, None, digest)
        evaluation = Evaluation(
            new_id("evl"), "p", run.id, digest, base, dataset.id, "i", "r", {}, True, (), canary, now()
        )
        with site.database.write() as c:
            number = len(find(c, ModelVersion)) + 1
            version = ModelVersion(
                id=new_id("ver"),
                project="p",
                number=number,
                adapter=digest,
                base=base,
                dataset=dataset.id,
                run=run.id,
                approval=None,
                evaluation=evaluation.id,
                papers="x",
                statement="s",
                key_id="k",
                tool_version="0",
                created_at=now(),
            )
            deployment = Deployment(new_id("dep"), "p", alias, version.id, "active", system, 0.5, now())
            nouns = [dataset, run, evaluation, version, deployment]
            if not find(c, Adapter, id=digest):
                nouns.insert(2, Adapter(digest, run.id, base, 4, 8.0, 10, now(), kind))
            for old in find(c, Deployment, alias=alias, status="active"):
                update(c, replace(old, status="replaced"))
            insert_many(c, nouns)
        return deployment

    def adapter_of(self, deployment: Deployment) -> str:
        with self.office.site.database.read() as c:
            return find(c, ModelVersion, id=deployment.version)[0].adapter

    def events(self, *actions: str) -> list:
        with self.office.site.database.read() as c:
            return [e for e in audit.events(c) if not actions or e.action in actions]

    def everything_written(self) -> bytes:
        """All bytes of the site's folder: what must never hold a prompt, an answer or a key."""
        with self.office.site.database.write() as c:
            c.exec_driver_sql("SELECT 1")
        return b"".join(p.read_bytes() for p in self.office.site.folder.rglob("*") if p.is_file())

    def _tree(self, files: dict[str, str]) -> str:
        folder = self.folder / new_id("made")
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text if name.endswith("json") else json.dumps(text))
        return self.office.site.artifacts.put_tree(folder)
