#include "worker/weights/safetensors_source.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "common/base/error.h"
#include "worker/weights/checkpoint_inventory.h"
#include "worker/weights/element_copy.h"
#include "worker/weights/inventory_digest.h"
#include "worker/weights/slice_checks.h"

namespace tessera {
namespace {

constexpr std::int64_t kWindowBytes = 4 << 20;  // compared and given back at a time

// The processor's own prefetching stops at the end of every 4 KB page of the file; asking two pages
// ahead raised reading and packing from 5.1 to 6.1 GB/s where memcpy does 13.4.
constexpr std::int64_t kPrefetchBytes = 8192;
constexpr std::int64_t kCacheLineBytes = 64;

using Tensors = std::map<std::string, LocatedTensor>;

std::optional<DType> weight_dtype(std::string_view stored) {
  if (stored == "F32") return DType::kFloat32;
  if (stored == "F16") return DType::kFloat16;
  if (stored == "BF16") return DType::kBFloat16;
  return std::nullopt;
}

Tensors::const_iterator find_stored(const Tensors& stored, const std::string& name) {
  constexpr std::string_view kPrefix = "model.";
  const auto it = stored.find(name);
  if (it != stored.end() || !name.starts_with(kPrefix)) return it;
  return stored.find(name.substr(kPrefix.size()));
}

void check_declared(const LocatedTensor& tensor, const TensorDeclaration& declaration) {
  const SafetensorsEntry& entry = tensor.entry;
  TESSERA_REQUIRE(entry.shape == declaration.shape, tensor.path, ": tensor '", entry.name,
                  "' has shape ", shape_text(entry.shape), ", expected ",
                  shape_text(declaration.shape));
  TESSERA_REQUIRE(weight_dtype(entry.dtype), tensor.path, ": tensor '", entry.name, "' has type ",
                  entry.dtype, ", expected F32, BF16 or F16");
}

void require_complete(const std::vector<TensorDeclaration>& declarations,
                      const Tensors& stored,
                      const std::filesystem::path& model_dir) {
  std::string first;
  std::int64_t num_missing = 0;
  for (const TensorDeclaration& declaration : declarations) {
    if (find_stored(stored, declaration.name) != stored.end()) continue;
    if (++num_missing == 1) first = declaration.name + "' " + shape_text(declaration.shape);
  }
  TESSERA_REQUIRE(num_missing == 0, model_dir.string(), ": tensor '", first, " is missing",
                  num_missing > 1 ? detail::concat(", and ", num_missing - 1, " others") : "");
}

// A hint: an address beyond the mapping is as good as any other.
void prefetch(const std::byte* begin, std::int64_t num_bytes) {
  for (std::int64_t i = 0; i < num_bytes; i += kCacheLineBytes) __builtin_prefetch(begin + i);
}

bool is_skipped(const std::string& name, const ExtraTensors& extra) {
  return std::ranges::any_of(extra.skipped_suffixes,
                             [&](const std::string& suffix) { return name.ends_with(suffix); }) ||
         std::ranges::any_of(extra.skipped_prefixes,
                             [&](const std::string& prefix) { return name.starts_with(prefix); });
}

std::span<const std::byte> contents(const LocatedTensor& tensor) {
  return tensor.file->bytes().subspan(
      static_cast<std::size_t>(tensor.entry.begin),
      static_cast<std::size_t>(tensor.entry.end - tensor.entry.begin));
}

void check_repeated(const LocatedTensor& repeated, const LocatedTensor& original) {
  TESSERA_REQUIRE(
      repeated.entry.dtype == original.entry.dtype && repeated.entry.shape == original.entry.shape,
      repeated.path, ": tensor '", repeated.entry.name, "' is ", repeated.entry.dtype, " ",
      shape_text(repeated.entry.shape), ", expected a copy of '", original.entry.name, "', ",
      original.entry.dtype, " ", shape_text(original.entry.shape));
  const std::span<const std::byte> left = contents(repeated);
  const std::span<const std::byte> right = contents(original);
  for (std::size_t begin = 0; begin < left.size(); begin += kWindowBytes) {
    const std::size_t count = std::min<std::size_t>(kWindowBytes, left.size() - begin);
    TESSERA_REQUIRE(std::memcmp(left.data() + begin, right.data() + begin, count) == 0,
                    repeated.path, ": tensor '", repeated.entry.name, "' must be equal to '",
                    original.entry.name,
                    "', which the configuration says it shares its values with");
    for (const LocatedTensor* tensor : {&repeated, &original}) {
      const std::int64_t first = tensor->entry.begin + static_cast<std::int64_t>(begin);
      tensor->file->done_with(first, first + static_cast<std::int64_t>(count));
    }
  }
}

// What is stored but neither declared nor skipped: a copy of a declared tensor, or an error.
void check_extra(const LocatedTensor& tensor, const Tensors& stored, const ExtraTensors& extra) {
  const std::string& name = tensor.entry.name;
  const auto repeated = std::ranges::find(extra.repeated, name, &RepeatedTensor::name);
  TESSERA_REQUIRE(repeated != extra.repeated.end(), tensor.path, ": tensor '", name, "' ",
                  tensor.entry.dtype, " ", shape_text(tensor.entry.shape),
                  " is not part of this model");
  const auto original = find_stored(stored, repeated->original);
  TESSERA_CHECK(original != stored.end(), "'", repeated->original, "' is not declared");
  check_repeated(tensor, original->second);
}

}  // namespace

SafetensorsSource::SafetensorsSource(const std::filesystem::path& model_dir,
                                     const std::vector<TensorDeclaration>& declarations,
                                     const ExtraTensors& extra) {
  CheckpointInventory inventory = open_checkpoint(model_dir);
  const Tensors& stored = inventory.tensors;
  require_complete(declarations, stored, model_dir);
  std::set<std::string> used;
  std::set<std::string> lines;
  for (const TensorDeclaration& declaration : declarations) {
    const LocatedTensor& tensor = find_stored(stored, declaration.name)->second;
    check_declared(tensor, declaration);
    used.insert(tensor.entry.name);
    lines.insert(declaration.name + " " + tensor.entry.dtype + shape_text(declaration.shape));
    const bool is_new = tensors_
                            .try_emplace(declaration.name, tensor.file, tensor.entry.begin,
                                         *weight_dtype(tensor.entry.dtype), tensor.entry.shape)
                            .second;
    TESSERA_CHECK(is_new, "'", declaration.name, "' is declared twice");
  }
  for (const auto& [name, tensor] : stored) {
    if (!used.contains(name) && !is_skipped(name, extra)) check_extra(tensor, stored, extra);
  }
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  digest_ = text_digest(text);
  files_ = std::move(inventory.files);
}

const SafetensorsSource::StoredTensor& SafetensorsSource::find(const std::string& name,
                                                               bool is_vector) const {
  const auto it = tensors_.find(name);
  TESSERA_CHECK(it != tensors_.end(), "tensor '", name, "' was not declared");
  TESSERA_CHECK((it->second.shape.size() == 1) == is_vector, "tensor '", name, "' has shape ",
                shape_text(it->second.shape));
  return it->second;
}

template <typename Use>
void SafetensorsSource::for_each_part(const StoredTensor& tensor, IndexRange rows, const Use& use) {
  const MatrixShape shape(tensor.shape);
  const std::int64_t row_bytes = shape.cols * size_of(tensor.dtype);
  const auto byte_of_row = [&](std::int64_t row) { return tensor.begin + row * row_bytes; };
  const std::int64_t part_rows = rows_per_part(row_bytes);
  for (std::int64_t begin = rows.begin; begin < rows.end; begin += part_rows) {
    const std::int64_t end = std::min(begin + part_rows, rows.end);
    const std::int64_t ahead = std::min(end + part_rows, shape.rows);
    if (begin == rows.begin) tensor.file->read_ahead(byte_of_row(begin), byte_of_row(end));
    if (end < ahead) tensor.file->read_ahead(byte_of_row(end), byte_of_row(ahead));
    use(begin, end);
    tensor.file->done_with(byte_of_row(begin), byte_of_row(end));
  }
}

ConstMatrixView SafetensorsSource::view_of(const StoredTensor& tensor,
                                           IndexRange rows,
                                           IndexRange cols) {
  const std::int64_t row_stride = MatrixShape(tensor.shape).cols;
  const std::int64_t first = rows.begin * row_stride + cols.begin;
  return {tensor.file->bytes().data() + tensor.begin + first * size_of(tensor.dtype), tensor.dtype,
          rows.size(), cols.size(), row_stride};
}

void SafetensorsSource::read_matrix(const std::string& name,
                                    IndexRange rows,
                                    IndexRange cols,
                                    const MatrixView& out) {
  const StoredTensor& tensor = find(name, /*is_vector=*/false);
  const MatrixShape shape(tensor.shape);
  check_matrix_slice(rows, cols, out);
  const IndexRange stored_rows = clamped(rows, shape.rows);
  const IndexRange stored_cols = clamped(cols, shape.cols);
  for_each_part(tensor, stored_rows, [&](std::int64_t begin, std::int64_t end) {
    const ConstMatrixView part = view_of(tensor, {begin, end}, stored_cols);
    for (std::int64_t row = begin; row < end; ++row) {
      const auto* source = static_cast<const std::byte*>(part.row(row - begin));
      prefetch(source + kPrefetchBytes, part.cols * size_of(part.dtype));
      copy_elements(source, part.dtype, part.cols, out.row(row - rows.begin), out.dtype);
    }
  });
  zero_outside(rows, cols, stored_rows, stored_cols, out);
}

void SafetensorsSource::visit_matrix(const std::string& name,
                                     IndexRange rows,
                                     IndexRange cols,
                                     const UsePart& use) {
  const StoredTensor& tensor = find(name, /*is_vector=*/false);
  const MatrixShape shape(tensor.shape);
  check_range(rows);
  check_range(cols);
  const IndexRange stored_cols = clamped(cols, shape.cols);
  for_each_part(tensor, clamped(rows, shape.rows), [&](std::int64_t begin, std::int64_t end) {
    use(begin - rows.begin, view_of(tensor, {begin, end}, stored_cols));
  });
}

std::vector<float> SafetensorsSource::read_vector(const std::string& name, IndexRange range) {
  const StoredTensor& tensor = find(name, /*is_vector=*/true);
  check_range(range);
  const IndexRange stored = clamped(range, tensor.shape[0]);
  std::vector<float> values(static_cast<std::size_t>(range.size()), 0.0F);
  const std::int64_t begin = tensor.begin + stored.begin * size_of(tensor.dtype);
  copy_elements(tensor.file->bytes().data() + begin, tensor.dtype, stored.size(), values.data(),
                DType::kFloat32);
  tensor.file->done_with(begin, begin + stored.size() * size_of(tensor.dtype));
  return values;
}

DType SafetensorsSource::stored_dtype(const std::string& name) const {
  const auto it = tensors_.find(name);
  TESSERA_CHECK(it != tensors_.end(), "tensor '", name, "' was not declared");
  return it->second.dtype;
}

}  // namespace tessera
