"""The shape of a language model, and the sizes that follow from it: pure arithmetic on frozen specs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from foretell.models.catalogue import check_keys, list_records, read_record


@dataclass(frozen=True, slots=True)
class Mla:
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): keys and values from one latent vector.

    Attributes:
        q_lora_rank: width of the query latent, None when queries are projected directly.
        kv_lora_rank: width of the cached latent.
        qk_nope_head_dim: part of a head's query and key without rotary embedding.
        qk_rope_head_dim: part with it, shared by all heads on the key side, and cached.

    """

    q_lora_rank: int | None
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int


@dataclass(frozen=True, slots=True)
class Attention:
    """The attention of one layer.

    Attributes:
        num_heads, num_kv_heads: query heads, and key/value heads (GQA).
        head_dim: width of a head's query and key.
        v_head_dim: width of a head's value, head_dim when None.
        sliding_window: how many last tokens a token sees, None for all of them.
        mla: the latent projections, None for plain attention.
        linear: attention with a state of constant size instead of a KV cache (MiniMax's lightning attention,
            Qwen3.5's gated delta net with the value heads of one key head taken together).
        qkv_bias, o_bias: whether the projections have biases.
        qk_norm: "" for none, "head" for a norm of head_dim on queries and on keys, "full" for one across
            all heads.
        sinks: one learned sink logit a head (gpt-oss).
        output_gate: a gate as wide as the heads' values, projected from the hidden state (lightning
            attention, Qwen3.5).

    """

    num_heads: int
    num_kv_heads: int
    head_dim: int
    v_head_dim: int | None = None
    sliding_window: int | None = None
    mla: Mla | None = None
    linear: bool = False
    qkv_bias: bool = False
    o_bias: bool = False
    qk_norm: str = ""
    sinks: bool = False
    output_gate: bool = False

    def __post_init__(self) -> None:
        for name in ("num_heads", "num_kv_heads", "head_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"attention {name}: {getattr(self, name)!r} is not an integer >= 1")
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"attention num_kv_heads: {self.num_kv_heads} does not divide num_heads {self.num_heads}"
            )
        if self.sliding_window is not None and self.sliding_window < 1:
            raise ValueError(f"attention sliding_window: {self.sliding_window!r} is not an integer >= 1")

    @property
    def value_dim(self) -> int:
        """Width of a head's value."""
        return self.head_dim if self.v_head_dim is None else self.v_head_dim

    def kv_elements_per_token(self) -> int:
        """Elements that one token adds to the KV cache of this layer (0 for linear attention)."""
        if self.linear:
            return 0
        if self.mla is not None:
            return self.mla.kv_lora_rank + self.mla.qk_rope_head_dim
        return self.num_kv_heads * (self.head_dim + self.value_dim)

    def state_elements(self) -> int:
        """Elements of the constant state that linear attention keeps for a sequence, 0 otherwise."""
        return self.num_heads * self.head_dim * self.value_dim if self.linear else 0

    def projection_parameters(self, hidden_size: int) -> int:
        """Weights of the layer's attention matrices: what a token is multiplied with."""
        out = self.num_heads * self.value_dim * hidden_size
        if self.mla is None:
            heads = self.num_heads * self.head_dim + self.num_kv_heads * (self.head_dim + self.value_dim)
            gate = self.num_heads * self.value_dim if self.output_gate else 0
            return hidden_size * (heads + gate) + out
        mla = self.mla
        query = self.num_heads * (mla.qk_nope_head_dim + mla.qk_rope_head_dim)
        into_query = (
            hidden_size * query
            if mla.q_lora_rank is None
            else hidden_size * mla.q_lora_rank + mla.q_lora_rank * query
        )
        into_latent = hidden_size * (mla.kv_lora_rank + mla.qk_rope_head_dim)
        out_of_latent = mla.kv_lora_rank * self.num_heads * (mla.qk_nope_head_dim + self.value_dim)
        return into_query + into_latent + out_of_latent + out

    def vector_parameters(self, hidden_size: int) -> int:
        """Biases, norms and sinks of the layer's attention."""
        query, keys = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        total = self.num_heads if self.sinks else 0
        if self.qkv_bias:
            total += query + keys + self.num_kv_heads * self.value_dim
        if self.o_bias:
            total += hidden_size
        if self.qk_norm:
            total += 2 * self.head_dim if self.qk_norm == "head" else query + keys
        if self.mla is not None:
            total += self.mla.kv_lora_rank + (self.mla.q_lora_rank or 0)
        if self.linear:
            total += self.num_heads * self.value_dim  # the norm before the output gate
        return total


@dataclass(frozen=True, slots=True)
class Mlp:
    """The feed-forward part of one layer, dense or a mixture of experts.

    Attributes:
        intermediate_size: width of the dense layer, or of one routed expert.
        num_experts: routed experts, 0 for a dense layer.
        top_k: experts that a token is routed to.
        shared_intermediate_size: width of all the shared experts together, 0 without.
        gated: three matrices (SwiGLU and the like) instead of two.
        bias: whether the matrices have biases (for experts, the router too).
        router_bias: a bias or score correction of one number an expert (DeepSeek-V3).
        shared_gate: a scalar gate on the shared expert (Qwen2-MoE).
        router_dtype: what engines multiply the router in, "bf16" or "fp32" (MiniMax: without tensor cores).

    """

    intermediate_size: int
    num_experts: int = 0
    top_k: int = 0
    shared_intermediate_size: int = 0
    gated: bool = True
    bias: bool = False
    router_bias: bool = False
    shared_gate: bool = False
    router_dtype: str = "bf16"

    def __post_init__(self) -> None:
        if self.num_experts and not 1 <= self.top_k <= self.num_experts:
            raise ValueError(f"mlp top_k: {self.top_k} is not between 1 and num_experts {self.num_experts}")

    def expert_parameters(self, hidden_size: int) -> int:
        """Parameters of one routed expert, or of the whole dense layer, with its biases."""
        return self._block(hidden_size, self.intermediate_size)

    def shared_parameters(self, hidden_size: int) -> int:
        """Parameters of the shared experts and their gate."""
        if not self.shared_intermediate_size:
            return 0
        return self._block(hidden_size, self.shared_intermediate_size) + (
            hidden_size if self.shared_gate else 0
        )

    def router_parameters(self, hidden_size: int) -> int:
        """Parameters of the router, 0 for a dense layer."""
        return self.num_experts * (hidden_size + (1 if self.router_bias or self.bias else 0))

    def parameters(self, hidden_size: int) -> int:
        """All parameters."""
        experts = max(self.num_experts, 1) * self.expert_parameters(hidden_size)
        return experts + self.shared_parameters(hidden_size) + self.router_parameters(hidden_size)

    def active_parameters(self, hidden_size: int) -> int:
        """Parameters that one token meets."""
        experts = (self.top_k if self.num_experts else 1) * self.expert_parameters(hidden_size)
        return experts + self.shared_parameters(hidden_size) + self.router_parameters(hidden_size)

    def _block(self, hidden_size: int, width: int) -> int:
        matrices = 3 if self.gated else 2
        biases = (matrices - 1) * width + hidden_size if self.bias else 0
        return matrices * hidden_size * width + biases


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """Layers of one kind; where they sit in the model does not matter.

    Attributes:
        count: how many of them.
        attention, mlp: what each holds.
        norms: norms of the hidden size in each (2, or 4 where outputs are normed too).

    """

    count: int
    attention: Attention
    mlp: Mlp
    norms: int = 2

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"layer group count: {self.count!r} is not an integer >= 1")


@dataclass(frozen=True, slots=True)
class Architecture:
    """A decoder-only transformer: text part only, without vision towers and multi-token-prediction layers.

    Attributes:
        name: its name in the catalogue.
        hidden_size, vocab_size: widths of the residual stream and of the vocabulary.
        layers: groups of like layers.
        tie_word_embeddings: the output head is the input embedding.
        max_position_embeddings: the longest context.
        weight_dtype: what the checkpoint ships its matrices in ("bf16", "fp8", "mxfp4", "int4", …).
        quantized_parts: which matrices have `weight_dtype`: "linear" (attention, MLP and experts), "mlp"
            (MLP and experts) or "experts" (routed experts alone); the rest is bf16. Without meaning for
            16-bit checkpoints.
        reward_labels: outputs of a two-layer reward head in place of the language-model head, None without.
        published_parameters, published_active_parameters: what the makers say.
        sources: source and date of each field.
        unknown_fields: fields of the configuration that the parser neither used nor knows to be irrelevant.
        notes: what the parser approximated, one sentence each.

    """

    name: str
    hidden_size: int
    vocab_size: int
    layers: tuple[LayerGroup, ...]
    tie_word_embeddings: bool
    max_position_embeddings: int
    weight_dtype: str = "bf16"
    quantized_parts: str = "linear"
    reward_labels: int | None = None
    published_parameters: float | None = None
    published_active_parameters: float | None = None
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)
    unknown_fields: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def num_layers(self) -> int:
        """Layers in all."""
        return sum(group.count for group in self.layers)

    @property
    def is_moe(self) -> bool:
        """Whether any layer has routed experts."""
        return any(group.mlp.num_experts for group in self.layers)

    def embedding_parameters(self) -> int:
        """Parameters of the input embedding."""
        return self.vocab_size * self.hidden_size

    def head_parameters(self) -> int:
        """Parameters of the output head that are not the input embedding's."""
        if self.reward_labels is not None:
            hidden = self.hidden_size
            return hidden * hidden + hidden + hidden * self.reward_labels + self.reward_labels
        return 0 if self.tie_word_embeddings else self.vocab_size * self.hidden_size

    def parameters(self) -> int:
        """All parameters: embeddings, head, norms, biases, routers and experts."""
        return self._total(active=False)

    def active_parameters(self) -> int:
        """Parameters that one token meets (top-k and shared experts; embeddings and head counted whole)."""
        return self._total(active=True)

    def kv_elements_per_token(self) -> int:
        """Elements that one more token adds to the KV cache while no window is full, all layers together."""
        return sum(group.count * group.attention.kv_elements_per_token() for group in self.layers)

    def kv_elements(self, context: int) -> int:
        """KV elements of a sequence of `context` tokens, windows and constant states taken into account."""
        total = 0
        for group in self.layers:
            attention = group.attention
            seen = context if attention.sliding_window is None else min(context, attention.sliding_window)
            total += group.count * (seen * attention.kv_elements_per_token() + attention.state_elements())
        return total

    def quantized_parameters(self) -> int:
        """Parameters that the checkpoint ships in `weight_dtype`; the other ones are bf16."""
        if self.weight_dtype in ("bf16", "fp16", "fp32"):
            return self.parameters()
        hidden = self.hidden_size
        total = 0
        for group in self.layers:
            mlp = group.mlp
            part = 0
            if self.quantized_parts == "linear":
                part += group.attention.projection_parameters(hidden)
            if self.quantized_parts != "experts" or mlp.num_experts:
                part += max(mlp.num_experts, 1) * mlp.expert_parameters(hidden)
            if self.quantized_parts != "experts":
                part += mlp.shared_parameters(hidden)
            total += group.count * part
        return total

    def _total(self, active: bool) -> int:
        hidden = self.hidden_size
        total = self.embedding_parameters() + self.head_parameters() + hidden  # the last norm
        for group in self.layers:
            attention = group.attention
            mlp = group.mlp.active_parameters(hidden) if active else group.mlp.parameters(hidden)
            total += group.count * (
                attention.projection_parameters(hidden)
                + attention.vector_parameters(hidden)
                + mlp
                + group.norms * hidden
            )
        return total


def list_architectures() -> list[str]:
    """Names of the bundled architectures."""
    return list(list_records("architectures"))


def load_architecture(name: str) -> Architecture:
    """Load an architecture by name, or from a path: a config.json, its folder, or a TOML record like ours.

    Raises:
        ValueError: unknown name (the nearest are suggested), or a record or configuration that is malformed.

    """
    from foretell.models.hf import architecture_from_hf  # it builds on this module

    record = read_record("architectures", name)
    if "config" not in record:  # a bare Hugging Face configuration
        path = Path(name)
        label = path.parent.name if path.name == "config.json" else path.stem
        return architecture_from_hf(record, label or name)
    optional = ["published_parameters", "published_active_parameters", "sources", "notes"]
    check_keys(record, ["name", "config"], optional, f"model {name}")
    found = architecture_from_hf(record["config"], record["name"])
    return replace(
        found,
        published_parameters=record.get("published_parameters"),
        published_active_parameters=record.get("published_active_parameters"),
        sources=record.get("sources", {}),
        notes=(*found.notes, *record.get("notes", ())),
    )
