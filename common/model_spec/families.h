#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "common/model_spec/config_fields.h"
#include "common/model_spec/model_spec.h"

namespace tessera {

/// One model family: how config.json names it, what it implies and what config.json may leave out.
struct ModelFamily {
  std::string_view name;
  std::string_view architecture;  ///< The model's class, in architectures or auto_map.
  std::string_view model_type;    ///< Empty: what is published there says nothing ("llama").
  TrainedAttention attention = TrainedAttention::kBlockCausal;
  bool shifted = false;
  std::optional<TokenId> default_mask_id;  ///< None: the family has no mask token.
  std::vector<TokenId> default_eos_ids;
  std::optional<std::int32_t> default_block_size;

  /// Fills the dimensions and switches from config.json. Token facts and block size are common.
  void (*read_dimensions)(const ConfigFields& config, ModelSpec& spec);
};

/// Every family this build knows. To add one: a line here and, if its tensors are named in a new
/// way, a TensorLayout with its name map in worker/model.
std::span<const ModelFamily> model_families();

/// The family that config.json names: by architectures, model_type and the classes of auto_map,
/// whichever are there. One that no family knows (a renamed class) is passed over while another
/// is known.
/// @throws Error{kInvalidArgument} quoting them if none is known (listing the known families), if
///         they contradict each other or if they fit several families.
const ModelFamily& find_family(const ConfigFields& config);

}  // namespace tessera
