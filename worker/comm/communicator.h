#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>

namespace tessera {

/// What the ranks of a replica say to each other within a step.
///
/// Every call is collective: all ranks make the same calls in the same order with the same sizes.
/// Results are bit for bit the same on every rank, and a rank that does not come within the
/// time-out is an Error{kDevice} that names it, never a hang; the communicator is of no use
/// afterwards. Messages have any size, implementations cut them. Owned by the rank's main thread.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual std::int32_t rank() const = 0;
  virtual std::int32_t size() const = 0;  ///< 1, 2, 4 or 8

  /// values[i] = sum over ranks, added along the fixed binary tree ((r0 + r1) + (r2 + r3)) + ...
  /// When every rank's value is itself the sum of its share of eight parts along the same tree,
  /// the result does not depend on the number of ranks.
  virtual void all_reduce_tree(std::span<float> values) = 0;

  /// values[i] = sum over ranks, modulo 2^64. For masses in fixed point: exact in any order.
  virtual void all_reduce_sum(std::span<std::uint64_t> values) = 0;

  /// all[r * mine.size() ...] = `mine` of rank r. all.size() == size() * mine.size().
  virtual void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) = 0;

  /// `bytes` of rank `root` on every rank.
  virtual void broadcast(std::span<std::byte> bytes, std::int32_t root) = 0;

  virtual void barrier() = 0;
};

/// all_gather of one small struct per rank.
template <typename T>
void all_gather_values(Communicator& communicator, std::span<const T> mine, std::span<T> all) {
  static_assert(std::is_trivially_copyable_v<T>);
  communicator.all_gather(std::as_bytes(mine), std::as_writable_bytes(all));
}

}  // namespace tessera
