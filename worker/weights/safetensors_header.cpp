#include "worker/weights/safetensors_header.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <utility>

#include "common/base/error.h"

namespace tessera {
namespace {

constexpr std::int64_t kLengthBytes = 8;
constexpr std::int64_t kMaxHeaderBytes = 100'000'000;  // the limit of the format's own library
constexpr std::size_t kMaxDimensions = 8;

struct StoredType {
  std::string_view name;
  std::int64_t bytes;
};

constexpr std::array<StoredType, 16> kStoredTypes = {{{"F32", 4},
                                                      {"BF16", 2},
                                                      {"F16", 2},
                                                      {"F64", 8},
                                                      {"I64", 8},
                                                      {"I32", 4},
                                                      {"I16", 2},
                                                      {"I8", 1},
                                                      {"U64", 8},
                                                      {"U32", 4},
                                                      {"U16", 2},
                                                      {"U8", 1},
                                                      {"BOOL", 1},
                                                      {"F8_E4M3", 1},
                                                      {"F8_E5M2", 1},
                                                      {"F8_E8M0", 1}}};

/// Walks through the JSON text and keeps nothing but entries, so that a hostile header costs no
/// more than its own size. Offsets stay relative to the data.
class HeaderReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(const std::string& path) : path_(path) {}

  std::vector<SafetensorsEntry> take_entries() { return std::move(entries_); }

  bool start_object(std::size_t /*elements*/) override {
    if (place_ == Place::kFile) {
      place_ = Place::kTensors;
    } else if (place_ == Place::kTensors) {
      place_ = key_ == "__metadata__" ? Place::kMetadata : Place::kTensor;
      entry_ = SafetensorsEntry{key_, {}, {}, 0, 0};
      fields_.clear();
      offsets_.clear();
    } else {
      fail("an object");
    }
    return true;
  }

  bool key(std::string& name) override {
    if (place_ == Place::kTensors) {
      TESSERA_REQUIRE(names_.insert(name).second, path_, ": header names '", name, "' twice");
      key_ = name;
      return true;
    }
    TESSERA_REQUIRE(fields_.insert(name).second, path_, ": header entry '", key_, "' has '", name,
                    "' twice");
    field_ = name;
    return true;
  }

  bool end_object() override {
    if (place_ == Place::kTensor) finish_entry();
    place_ = place_ == Place::kTensors ? Place::kFile : Place::kTensors;
    return true;
  }

  bool start_array(std::size_t /*elements*/) override {
    if (place_ != Place::kTensor) fail("a list");
    if (field_ == "shape") {
      place_ = Place::kShape;
    } else if (field_ == "data_offsets") {
      place_ = Place::kOffsets;
    } else {
      fail("a list");
    }
    return true;
  }

  bool end_array() override {
    place_ = Place::kTensor;
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    const bool in_list = place_ == Place::kShape || place_ == Place::kOffsets;
    if (!in_list) fail(std::to_string(value));
    TESSERA_REQUIRE(value <= std::numeric_limits<std::int64_t>::max(), path_, ": tensor '", key_,
                    "': ", field_, " holds ", value, ", which is too large");
    auto& list = place_ == Place::kShape ? entry_.shape : offsets_;
    TESSERA_REQUIRE(list.size() < kMaxDimensions, path_, ": tensor '", key_, "': ", field_,
                    " has more than ", kMaxDimensions, " entries");
    list.push_back(static_cast<std::int64_t>(value));
    return true;
  }

  bool string(std::string& value) override {
    if (place_ == Place::kMetadata) return true;
    if (place_ != Place::kTensor || field_ != "dtype") fail("a string");
    entry_.dtype = value;
    return true;
  }

  bool null() override { fail("null"); }
  bool boolean(bool value) override { fail(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override { fail(std::to_string(value)); }
  bool number_float(number_float_t /*value*/, const std::string& text) override { fail(text); }
  bool binary(binary_t& /*value*/) override { fail("binary data"); }

  bool parse_error(std::size_t position,
                   const std::string& /*token*/,
                   const nlohmann::json::exception& error) override {
    TESSERA_REQUIRE(false, path_, ": header is not JSON at byte ", kLengthBytes + position, ": ",
                    error.what());
    return false;
  }

 private:
  enum class Place { kFile, kTensors, kMetadata, kTensor, kShape, kOffsets };

  [[noreturn]] void fail(const std::string& found) const {
    std::string where = "at the top";
    if (place_ == Place::kTensors) where = "entry '" + key_ + "'";
    if (place_ > Place::kTensors) where = "entry '" + key_ + "', " + field_;
    detail::throw_error(ErrorCode::kInvalidArgument, "",
                        path_ + ": unexpected " + found + " in the header, " + where, __FILE__,
                        __LINE__);
  }

  void finish_entry() {
    const std::set<std::string> wanted = {"data_offsets", "dtype", "shape"};
    TESSERA_REQUIRE(fields_ == wanted, path_, ": tensor '", key_,
                    "': expected exactly dtype, shape and data_offsets in the header");
    TESSERA_REQUIRE(offsets_.size() == 2, path_, ": tensor '", key_, "': data_offsets has ",
                    offsets_.size(), " entries, expected 2");
    entry_.begin = offsets_[0];
    entry_.end = offsets_[1];
    entries_.push_back(std::move(entry_));
  }

  const std::string& path_;
  Place place_ = Place::kFile;
  std::string key_;    // of the top-level object
  std::string field_;  // of the entry
  std::set<std::string> names_;
  std::set<std::string> fields_;
  SafetensorsEntry entry_;
  std::vector<std::int64_t> offsets_;
  std::vector<SafetensorsEntry> entries_;
};

std::int64_t expected_bytes(const SafetensorsEntry& entry, const std::string& path) {
  const auto* type = std::ranges::find(kStoredTypes, entry.dtype, &StoredType::name);
  TESSERA_REQUIRE(type != kStoredTypes.end(), path, ": tensor '", entry.name, "' has unknown type ",
                  entry.dtype);
  std::int64_t bytes = type->bytes;
  for (const std::int64_t size : entry.shape) {
    TESSERA_REQUIRE(!__builtin_mul_overflow(bytes, size, &bytes), path, ": tensor '", entry.name,
                    "' of shape ", shape_text(entry.shape), " is larger than any file");
  }
  return bytes;
}

// The tensors must tile the data: no gap, no overlap, nothing beyond the end.
void check_offsets(const std::vector<SafetensorsEntry>& entries,
                   std::int64_t data_bytes,
                   const std::string& path) {
  std::int64_t covered = 0;
  for (const SafetensorsEntry& entry : entries) {
    const std::int64_t bytes = expected_bytes(entry, path);
    TESSERA_REQUIRE(entry.begin <= entry.end && entry.end - entry.begin == bytes, path,
                    ": tensor '", entry.name, "' of ", entry.dtype, " ", shape_text(entry.shape),
                    " needs ", bytes, " bytes, its data_offsets are [", entry.begin, ", ",
                    entry.end, ")");
    TESSERA_REQUIRE(entry.end <= data_bytes, path, ": tensor '", entry.name, "' ends at byte ",
                    entry.end, " of the data, the file has ", data_bytes, ": is it truncated?");
    TESSERA_REQUIRE(entry.begin == covered, path, ": tensor '", entry.name, "' begins at byte ",
                    entry.begin, " of the data, expected ", covered,
                    entry.begin < covered ? ": it overlaps another tensor" : ": there is a gap");
    covered = entry.end;
  }
  TESSERA_REQUIRE(covered == data_bytes, path, ": the tensors end at byte ", covered,
                  " of the data, the file has ", data_bytes);
}

std::int64_t read_header_bytes(std::span<const std::byte> file, const std::string& path) {
  const auto file_bytes = static_cast<std::int64_t>(file.size());
  TESSERA_REQUIRE(file_bytes >= kLengthBytes, path, ": ", file_bytes,
                  " bytes are too few for a safetensors file");
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    length |= std::to_integer<std::uint64_t>(file[i]) << (8 * i);
  }
  TESSERA_REQUIRE(length <= kMaxHeaderBytes, path, ": header of ", length,
                  " bytes, allowed are at most ", kMaxHeaderBytes);
  const auto bytes = static_cast<std::int64_t>(length);
  TESSERA_REQUIRE(bytes <= file_bytes - kLengthBytes, path, ": header of ", bytes,
                  " bytes in a file of ", file_bytes, ": is it truncated?");
  return bytes;
}

}  // namespace

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (const std::int64_t size : shape) {
    text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  }
  return text + "]";
}

std::vector<SafetensorsEntry> parse_safetensors_header(std::span<const std::byte> file,
                                                       const std::string& path) {
  const std::int64_t header_bytes = read_header_bytes(file, path);
  const auto* text = reinterpret_cast<const char*>(file.data() + kLengthBytes);
  TESSERA_REQUIRE(header_bytes > 0 && text[0] == '{', path, ": header does not begin with '{'");
  HeaderReader reader(path);
  nlohmann::json::sax_parse(text, text + header_bytes, &reader);
  std::vector<SafetensorsEntry> entries = reader.take_entries();
  std::ranges::sort(entries, [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  const std::int64_t data_begin = kLengthBytes + header_bytes;
  check_offsets(entries, static_cast<std::int64_t>(file.size()) - data_begin, path);
  for (SafetensorsEntry& entry : entries) {
    entry.begin += data_begin;
    entry.end += data_begin;
  }
  return entries;
}

}  // namespace tessera
