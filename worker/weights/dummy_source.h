#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "worker/weights/tensor_source.h"

namespace tessera {

/// Random weights of any shape, without files.
///
/// Every element is a pure function of (seed, tensor name, row, column), so that all ranks of every
/// tensor-parallel degree hold parts of the same model. All values are bf16 values. Matrices and
/// biases are normal with standard deviation 0.02, of 4096 levels; other vectors (norms) are ones.
///
///     word(row, j) = splitmix64(splitmix64(key(name, seed) + (row + 1) a) + (j + 1) b)
///     element(row, col) = level[12 bits of word(row, col / 4), from bit 16 (col % 4) on]
class DummySource final : public TensorSource {
 public:
  DummySource(const std::vector<TensorDeclaration>& declarations, std::uint64_t seed);

  void read_matrix(const std::string& name,
                   IndexRange rows,
                   IndexRange cols,
                   const MatrixView& out) override;
  void visit_matrix(const std::string& name,
                    IndexRange rows,
                    IndexRange cols,
                    const UsePart& use) override;
  std::vector<float> read_vector(const std::string& name, IndexRange range) override;
  DType stored_dtype(const std::string& name) const override;
  std::string digest() const override { return digest_; }

 private:
  using Shape = std::vector<std::int64_t>;
  static constexpr std::size_t kNumLevels = 4096;

  const Shape& shape_of(const std::string& name, bool is_vector) const;

  std::uint64_t seed_;
  std::array<std::uint16_t, kNumLevels> levels_;  ///< bf16, ascending
  std::unordered_map<std::string, Shape> shapes_;
  std::string digest_;
};

}  // namespace tessera
