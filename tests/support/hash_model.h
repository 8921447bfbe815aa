#pragma once

#include <cstdint>
#include <vector>

#include "common/base/types.h"
#include "common/decoding/embedding_recipe.h"

namespace tessera {

/// K/V of one row, or a sum over rows. Arithmetic wraps.
struct HashKv {
  std::uint64_t k1 = 0;
  std::uint64_t k2 = 0;
};

/// One row on its way through the two layers.
struct HashRow {
  std::uint64_t content = 0;  ///< Stands for the embedding; also k1, the K/V of the first layer.
  std::uint64_t a = 0;        ///< After the first layer.
  std::uint64_t k2 = 0;       ///< K/V of the second layer.
  std::uint64_t h = 0;        ///< After the second layer: determines the logits.
};

/// A two-layer "network" over 64-bit words, exact on every machine, that reacts to tokens,
/// positions, masks and stale K/V like a real one:
///
///     s  = mix(mix(position + 1 + seed G) + token)        k1 = s
///     a  = mix(s + sum of visible k1)                     k2 = mix(a ^ 0xa5a5a5a5a5a5a5a5)
///     h  = mix(a + sum of visible k2)
///     logit[v] = (mix(h + (v + 1) G) >> 60) / 4, plus 1.5 ((h >> 8) & 7) at one peak
///
/// The peak is mix(h ^ 0x07ee..) % V when h % 4 == 0, and otherwise one that depends on the
/// position alone, so that tokens settle as in a trained model.
class HashModel {
 public:
  HashModel(std::int32_t vocab_size, std::uint64_t seed) : vocab_size_(vocab_size), seed_(seed) {}

  std::uint64_t content(Position position, TokenId token) const;

  /// The content of a partly accepted token; equals `content` for plain recipes.
  static std::uint64_t with_recipe(std::uint64_t content, const EmbeddingRecipe& recipe);

  /// The content of a canvas row that gets `greedy` of the last canvas step as conditioning.
  static std::uint64_t with_conditioning(std::uint64_t content, TokenId greedy);

  /// Fills `a` and `k2`; `visible` is the sum of k1 over the visible rows.
  static void first_layer(HashRow& row, std::uint64_t visible);

  /// Fills `h`; `visible` is the sum of k2 over the visible rows.
  static void second_layer(HashRow& row, std::uint64_t visible);

  /// fp32 logits of a row, [vocab_size], multiples of 1/4.
  std::vector<float> logits(std::uint64_t h, Position position) const;

 private:
  std::int32_t vocab_size_;
  std::uint64_t seed_;
};

}  // namespace tessera
