#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tessera {

/// One tensor of a safetensors file.
struct SafetensorsEntry {
  std::string name;
  std::string dtype;  ///< As the file writes it: "F32", "BF16", "I64", ...
  std::vector<std::int64_t> shape;
  std::int64_t begin = 0;  ///< Bytes of the file: [begin, end)
  std::int64_t end = 0;
};

/// Reads the header of a safetensors file:
///
///     8 bytes: length n, little-endian | n bytes of JSON, may end in spaces | data
///     {"name": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}, "__metadata__": {...}}
///
/// Strict, as the file may come from anywhere: n is at most 100 MB and lies within the file, every
/// key is known and given once, offsets (from the start of the data) match type and shape, and the
/// tensors cover the data without gap or overlap. What passes can be read without further checks.
///
/// @param file  The whole file.   @param path  Named in errors.
/// @return Entries in the order of the data.
/// @throws Error{kInvalidArgument} naming path, tensor, and what was expected and found.
std::vector<SafetensorsEntry> parse_safetensors_header(std::span<const std::byte> file,
                                                       const std::string& path);

/// "[2048, 1024]"
std::string shape_text(std::span<const std::int64_t> shape);

}  // namespace tessera
