#include "tests/support/hash_model.h"

#include "common/base/philox.h"

namespace tessera {
namespace {

constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15U;

}  // namespace

std::uint64_t HashModel::content(Position position, TokenId token) const {
  const std::uint64_t place =
      splitmix64(static_cast<std::uint64_t>(position) + 1 + seed_ * kGolden);
  return splitmix64(place + static_cast<std::uint64_t>(token));
}

std::uint64_t HashModel::with_recipe(std::uint64_t content, const EmbeddingRecipe& recipe) {
  if (recipe.is_plain()) return content;
  std::uint64_t mixed = content ^ 0x5EED5EED5EED5EEDU;
  for (std::int32_t i = 0; i < recipe.num_ids; ++i) {
    mixed = splitmix64(mixed + static_cast<std::uint64_t>(recipe.ids[i]) + 1);
  }
  return mixed;
}

std::uint64_t HashModel::with_conditioning(std::uint64_t content, TokenId greedy) {
  return splitmix64((content ^ 0xC0FFEE00C0FFEE00U) + static_cast<std::uint64_t>(greedy));
}

void HashModel::first_layer(HashRow& row, std::uint64_t visible) {
  row.a = splitmix64(row.content + visible);
  row.k2 = splitmix64(row.a ^ 0xA5A5A5A5A5A5A5A5U);
}

void HashModel::second_layer(HashRow& row, std::uint64_t visible) {
  row.h = splitmix64(row.a + visible);
}

std::vector<float> HashModel::logits(std::uint64_t h, Position position) const {
  const auto vocab = static_cast<std::uint64_t>(vocab_size_);
  std::vector<float> logits(vocab);
  for (std::uint64_t v = 0; v < vocab; ++v) {
    logits[v] = static_cast<float>(splitmix64(h + (v + 1) * kGolden) >> 60) / 4.0F;
  }
  const std::uint64_t place = (static_cast<std::uint64_t>(position) + 1) * kGolden + seed_;
  const std::uint64_t peak = (h & 3) == 0 ? splitmix64(h ^ 0x07EE07EE07EE07EEU) % vocab
                                          : splitmix64(place ^ 0x51AB1E0051AB1E00U) % vocab;
  logits[peak] += 1.5F * static_cast<float>((h >> 8) & 7);
  return logits;
}

}  // namespace tessera
