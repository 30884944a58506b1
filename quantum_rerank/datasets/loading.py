"""Loading of collections by a spec, `SOURCE:ARGUMENT`.

icd10:CHAPTER          ICD-10-CM, chapters 1 to 22, from the package simple-icd-10-cm
beir:FOLDER            corpus.jsonl, queries.jsonl, qrels/*.tsv; texts also as .parquet
trec:FOLDER            corpus.tsv or .jsonl, queries.tsv or topics.txt, qrels.txt
csv:FILE               one table with the columns query, document and label
parquet:FILE           the same table in Parquet, or one with query, positive and negative
triplets:FILE          JSONL with query, pos and neg, or with anchor, positive and negative
datasets:FOLDER        a Hugging Face dataset written by `save_to_disk`, with Parquet's columns
ir_datasets:ID         the catalogue of https://ir-datasets.com
zaragoza:CATEGORIES    questions on building in Sweden; `zaragoza:all`
gpe:TOPIC              claims, and the web pages collected to check them

Text files may be compressed (.gz, .bz2, .xz). They are UTF-8, or UTF-16 with a byte order mark.
`data.columns` (`--columns query=q,document=text,label=rel`) sets the names of columns.
"""

from __future__ import annotations

from quantum_rerank.datasets.collection import Collection
from quantum_rerank.datasets.config import DataConfig
from quantum_rerank.datasets.source import CollectionTexts, Source
from quantum_rerank.datasets.unmatched import require_matched
from quantum_rerank.errors import DataError
from quantum_rerank.registry import Registry

SOURCES = Registry[type[Source]](
    "source",
    "sources",
    {
        "icd10": "quantum_rerank.datasets.icd10:Icd10Chapter",
        "beir": "quantum_rerank.datasets.beir:BeirFolder",
        "trec": "quantum_rerank.datasets.trec:TrecFolder",
        "csv": "quantum_rerank.datasets.csv_table:CsvTable",
        "parquet": "quantum_rerank.datasets.parquet_table:ParquetTable",
        "triplets": "quantum_rerank.datasets.triplets:TripletsFile",
        "datasets": "quantum_rerank.datasets.hf_dataset:HuggingFaceFolder",
        "ir_datasets": "quantum_rerank.datasets.ir_dataset:IrDataset",
        "zaragoza": "quantum_rerank.datasets.zaragoza:ZaragozaFaq",
        "gpe": "quantum_rerank.datasets.gpe:GpeTopic",
    },
)
"""Sources of collections by name."""


def load_collection(spec: str, config: DataConfig | None = None) -> Collection:
    """Load the collection of a spec.

    Args:
        spec: Source and argument, such as `icd10:5`.
        config: Settings of the data: how tables are read, and the share of judgments that may
            name missing texts. Defaults to `DataConfig()`.

    Raises:
        DataError: The collection does not exist, or is invalid.
        MissingPackage: An optional package is not installed.
    """
    config = config or DataConfig()
    source, argument = _parsed(spec)
    collection = source.load(argument, config)
    require_matched(collection, config.max_unmatched_judgments)
    return collection


def load_texts(spec: str, config: DataConfig | None = None) -> CollectionTexts:
    """Load the texts of the collection of a spec; in BEIR and TREC folders, unjudged queries too.

    Args:
        spec: Source and argument.
        config: Settings of the data. Defaults to `DataConfig()`.

    Raises:
        DataError: The collection does not exist, or is invalid.
        MissingPackage: An optional package is not installed.
    """
    source, argument = _parsed(spec)
    return source.texts(argument, config or DataConfig())


def domain_of(spec: str) -> str:
    """Return the domain of the collection of a spec, which need not exist.

    Args:
        spec: Source and argument. A spec without a registered source is returned as it is.

    >>> domain_of("csv:./clicks.csv"), domain_of("beir:data/../data/cran"), domain_of("icd10:5")
    ('csv:clicks', 'beir:cran', 'icd10:5')
    """
    name, _, argument = spec.partition(":")
    return SOURCES[name](name).domain(argument) if argument and name in SOURCES else spec


def _parsed(spec: str) -> tuple[Source, str]:
    """Return the source and the argument of a spec."""
    name, _, argument = spec.partition(":")
    if name not in SOURCES or not argument:
        forms = ", ".join(f"`{source}:...`" for source in SOURCES)
        raise DataError(f"`{spec}` does not name a collection. The sources are {forms}.")
    return SOURCES[name](name), argument
