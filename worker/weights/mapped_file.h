#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace tessera {

/// A file mapped for reading, whose pages are read ahead of the reader and given back behind it, so
/// that reading a large file through once keeps a few MB of it resident.
///
/// Giving back drops the mapping's pages, not the page cache: other ranks on the machine and the
/// next start read from memory. The file must not be shortened while it is mapped.
class MappedFile {
 public:
  /// @throws Error{kInvalidArgument} naming the path if it is no readable regular file.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const {
    return {static_cast<const std::byte*>(data_), static_cast<std::size_t>(num_bytes_)};
  }

  /// Asks the kernel to read [begin, end) from the disk unless it is cached; does not wait.
  void read_ahead(std::int64_t begin, std::int64_t end) const;

  /// The reader is done with [begin, end). Its pages go once a few MB have come together or the
  /// reader moves elsewhere; reading them again is possible and costs a page fault.
  void done_with(std::int64_t begin, std::int64_t end);

 private:
  struct Descriptor {
    int value;
    ~Descriptor();
  };

  void release() const;

  Descriptor file_;
  void* data_ = nullptr;
  std::int64_t num_bytes_ = 0;
  std::int64_t held_begin_ = 0;  ///< Bytes read and not given back yet.
  std::int64_t held_end_ = 0;
};

}  // namespace tessera
