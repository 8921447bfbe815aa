#include "common/model_spec/model_spec.h"

#include "common/base/error.h"
#include "common/model_spec/config_fields.h"
#include "common/model_spec/families.h"
#include "common/model_spec/token_facts.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

void require_consistent(const ConfigFields& config, const ModelSpec& spec) {
  for (const AttentionSpec& kind : spec.attention_kinds) {
    TESSERA_REQUIRE(spec.num_q_heads % kind.num_kv_heads == 0, config.file(), ": ",
                    spec.num_q_heads, " query heads are not a multiple of ", kind.num_kv_heads,
                    " key/value heads");
    TESSERA_REQUIRE(kind.head_dim % 2 == 0, config.file(), ": head_dim = ", kind.head_dim,
                    " must be even");
  }
  TESSERA_REQUIRE(spec.tokenizer_size <= spec.vocab_size, config.file(),
                  ": vocab_size = ", spec.vocab_size, " is less than the ", spec.tokenizer_size,
                  " ids of the tokenizer");
  for (const TokenId id : spec.eos_ids) {
    TESSERA_REQUIRE(id < spec.vocab_size, config.file(), ": eos_token_id ", id,
                    " is not below vocab_size = ", spec.vocab_size);
  }
}

// config.json first, then the tokenizer files, then the family's. An id that the vocabulary does
// not have means that the model has no mask token.
std::optional<TokenId> resolve_mask_id(const fs::path& model_dir,
                                       const ConfigFields& config,
                                       const ModelFamily& family,
                                       std::int32_t vocab_size) {
  if (!family.default_mask_id) return std::nullopt;
  if (const auto id = config.optional_integer("mask_token_id", 0)) {
    TESSERA_REQUIRE(*id < vocab_size, config.file(), ": mask_token_id = ", *id,
                    " is not below vocab_size = ", vocab_size);
    return id;
  }
  const TokenId id = read_tokenizer_mask_id(model_dir).value_or(*family.default_mask_id);
  return id < vocab_size ? std::optional(id) : std::nullopt;
}

std::optional<std::int32_t> read_block_size(const ConfigFields& config, const ModelFamily& family) {
  constexpr std::int32_t kMaxBlockSize = 4096;
  for (const char* name : {"block_size", "bd_size"}) {
    if (const auto size = config.optional_integer(name, 1, kMaxBlockSize)) return size;
  }
  return family.default_block_size;
}

}  // namespace

ModelSpec read_model_spec(const fs::path& model_dir) {
  const ConfigFields config(model_dir / "config.json");
  config.require_only("quantization_config", nullptr);
  const ModelFamily& family = find_family(config);
  ModelSpec spec;
  spec.family = family.name;
  spec.attention = family.attention;
  spec.shifted = family.shifted;
  family.read_dimensions(config, spec);
  spec.tokenizer_size = read_tokenizer_size(model_dir).value_or(spec.vocab_size);
  spec.mask_id = resolve_mask_id(model_dir, config, family, spec.vocab_size);
  spec.eos_ids = read_eos_ids(model_dir, config);
  if (spec.eos_ids.empty()) spec.eos_ids = family.default_eos_ids;
  spec.block_size = read_block_size(config, family);
  require_consistent(config, spec);
  return spec;
}

ModelFacts facts_of(const ModelSpec& spec) {
  ModelFacts facts;
  facts.vocab_size = spec.vocab_size;
  facts.tokenizer_size = spec.tokenizer_size;
  facts.mask_id = spec.mask_id;
  facts.eos_ids = spec.eos_ids;
  facts.attention = spec.attention;
  facts.shifted = spec.shifted;
  facts.block_size = spec.block_size;
  facts.canvas_length = spec.canvas_length;
  return facts;
}

}  // namespace tessera
