#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tessera {

/// Map from 64-bit keys, of which ~0 is not one, to small values, for tables that are filled once
/// and read very often: open addressing with linear probing, at most half full.
///
/// Filled by one thread; find() from any thread after that.
template <typename Value>
class FlatMap {
 public:
  FlatMap() = default;

  /// Room for `count` keys; more must not be set.
  explicit FlatMap(std::size_t count) : slots_(std::bit_ceil(2 * count + 2)) {}

  /// Sets the value of `key`, known or new.
  void set(std::uint64_t key, const Value& value) {
    std::size_t i = start_of(key);
    while (slots_[i].key != kEmpty && slots_[i].key != key) i = (i + 1) & (slots_.size() - 1);
    slots_[i] = {key, value};
  }

  /// The value of `key`, or null.
  const Value* find(std::uint64_t key) const noexcept {
    for (std::size_t i = start_of(key); slots_[i].key != kEmpty;
         i = (i + 1) & (slots_.size() - 1)) {
      if (slots_[i].key == key) return &slots_[i].value;
    }
    return nullptr;
  }

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};

  struct Slot {
    std::uint64_t key = kEmpty;
    Value value{};
  };

  std::size_t start_of(std::uint64_t key) const noexcept {
    return static_cast<std::size_t>((key * 0x9E3779B97F4A7C15U) >> 32) & (slots_.size() - 1);
  }

  std::vector<Slot> slots_ = std::vector<Slot>(2);
};

}  // namespace tessera
