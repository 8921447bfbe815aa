#include "kernels/cpu/attention/attention_scratch.h"

#include "common/base/error.h"
#include "kernels/cpu/attention/cpu_attention.h"
#include "kernels/cpu/attention/key_tiles.h"
#include "kernels/partition.h"

namespace tessera::kernels {
namespace {

// Hands out consecutive aligned arrays; with no memory behind it, it only counts.
class Arena {
 public:
  explicit Arena(std::byte* base) : base_(base) {}

  template <typename T>
  T* take(std::int64_t num_bytes) {
    std::byte* const at = base_ == nullptr ? nullptr : base_ + used_;
    used_ += round_up(num_bytes, 64);
    return reinterpret_cast<T*>(at);
  }
  std::int64_t used() const { return used_; }

 private:
  std::byte* base_;
  std::int64_t used_ = 0;
};

std::int64_t lay_out(AttentionScratch& scratch,
                     std::byte* base,
                     std::int32_t group,
                     std::int32_t head_dim,
                     std::int32_t element_bytes) {
  const std::int64_t queries = std::int64_t{max_tile_rows(group)} * group;
  scratch.value_stride = static_cast<std::int32_t>(round_up(head_dim, 16));
  const std::int64_t stride = scratch.value_stride;
  Arena arena(base);
  scratch.queries = arena.take<std::byte>(queries * head_dim * element_bytes);
  scratch.keys = arena.take<std::byte>(kTileKeys * stride * element_bytes);
  scratch.values = arena.take<std::byte>(kTileKeys * stride * element_bytes);
  scratch.outputs = arena.take<float>(queries * stride * 4);
  scratch.tops = arena.take<float>(queries * 4);
  scratch.totals = arena.take<float>(queries * 16 * 4);
  scratch.sees = arena.take<std::uint64_t>(queries * 8);
  return arena.used();
}

}  // namespace

AttentionScratch::AttentionScratch(std::span<std::byte> scratch,
                                   std::int32_t group,
                                   std::int32_t head_dim,
                                   std::int32_t element_bytes) {
  const std::int64_t needed = lay_out(*this, scratch.data(), group, head_dim, element_bytes);
  TESSERA_REQUIRE(static_cast<std::int64_t>(scratch.size()) >= needed &&
                      reinterpret_cast<std::uintptr_t>(scratch.data()) % 64 == 0,
                  "attention scratch of ", scratch.size(), " bytes at ", scratch.data(), ": needs ",
                  needed, " bytes, 64-byte aligned");
}

std::int64_t attention_scratch_bytes(std::int32_t num_q_heads,
                                     std::int32_t num_kv_heads,
                                     std::int32_t head_dim) {
  AttentionScratch scratch;
  return lay_out(scratch, nullptr, num_q_heads / num_kv_heads, head_dim, /*element_bytes=*/4);
}

}  // namespace tessera::kernels
