#pragma once

#include <cstddef>
#include <string>

namespace tessera {

/// Memory that processes of one machine share. It has no name in a file system: it is gone with the
/// last process that maps it, however that ends.
class SharedRegion {
 public:
  /// Zeroed memory. @param name  Shown in /proc/PID/maps.
  /// @throws Error{kDevice} naming what the system refuses.
  static SharedRegion create(const std::string& name, std::size_t bytes);

  /// Maps the region of another process, or of another thread of this one.
  /// @param path  Its path(). @throws Error{kDevice} if it cannot be opened or is shorter.
  static SharedRegion open(const std::string& path, std::size_t bytes);

  SharedRegion(SharedRegion&& other) noexcept;
  SharedRegion(const SharedRegion&) = delete;
  SharedRegion& operator=(const SharedRegion&) = delete;
  ~SharedRegion();

  std::byte* data() const noexcept { return data_; }
  std::size_t bytes() const noexcept { return bytes_; }

  /// Where processes of this machine and user can open it, as long as this object lives.
  std::string path() const;

 private:
  SharedRegion(int descriptor, std::size_t bytes);

  int descriptor_;
  std::size_t bytes_;
  std::byte* data_;
};

}  // namespace tessera
