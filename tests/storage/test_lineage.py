from tests.storage import nouns
from tuneward.storage import lineage
from tuneward.storage.lineage import Ref


def test_links_both_ways_and_walks_each_noun_once(site):
    with site.database.write() as c:
        for parent, child in [
            (nouns.BASE, nouns.RUN),
            (nouns.DATASET, nouns.RUN),
            (nouns.BASE, nouns.DATASET),
            (nouns.RUN, nouns.ADAPTER),
            (Ref("adapter", nouns.ADAPTER.id), nouns.VERSION),
            (nouns.RUN, nouns.ADAPTER),
        ]:
            lineage.link(c, parent, child)
        assert lineage.parents(c, "run", nouns.RUN.id) == [lineage.ref(nouns.BASE), lineage.ref(nouns.DATASET)]
        assert lineage.children(c, "run", nouns.RUN.id) == [lineage.ref(nouns.ADAPTER)]
        assert lineage.walk(c, "version", "ver_1", towards="parents") == [
            lineage.ref(noun) for noun in (nouns.ADAPTER, nouns.RUN, nouns.BASE, nouns.DATASET)
        ]
        assert lineage.walk(c, "dataset", "dat_1", towards="children") == [
            lineage.ref(noun) for noun in (nouns.RUN, nouns.ADAPTER, nouns.VERSION)
        ]


def test_a_circle_ends(site):
    with site.database.write() as c:
        lineage.link(c, Ref("a", "1"), Ref("a", "2"))
        lineage.link(c, Ref("a", "2"), Ref("a", "1"))
        assert lineage.walk(c, "a", "1", towards="children") == [Ref("a", "2")]
