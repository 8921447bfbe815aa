#include "worker/comm/shared_region.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "common/base/error.h"

namespace tessera {
namespace {

void check(bool holds, const char* call, const std::string& what) {
  TESSERA_CHECK_AS(ErrorCode::kDevice, holds, "shared memory: ", call, " of ", what,
                   " failed: ", std::strerror(errno));
}

}  // namespace

SharedRegion SharedRegion::create(const std::string& name, std::size_t bytes) {
  const int descriptor = memfd_create(name.c_str(), MFD_CLOEXEC);
  check(descriptor >= 0, "memfd_create", name);
  if (ftruncate(descriptor, static_cast<off_t>(bytes)) != 0) {
    const int cause = errno;
    ::close(descriptor);
    errno = cause;
    check(false, "ftruncate", name);
  }
  return SharedRegion(descriptor, bytes);
}

SharedRegion SharedRegion::open(const std::string& path, std::size_t bytes) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  check(descriptor >= 0, "open", path);
  struct stat status {};
  const bool fits = fstat(descriptor, &status) == 0 && status.st_size >= 0 &&
                    static_cast<std::size_t>(status.st_size) >= bytes;
  if (!fits) ::close(descriptor);
  TESSERA_CHECK_AS(ErrorCode::kDevice, fits, "shared memory: ", path, " has less than ", bytes,
                   " bytes");
  return SharedRegion(descriptor, bytes);
}

SharedRegion::SharedRegion(int descriptor, std::size_t bytes)
    : descriptor_(descriptor), bytes_(bytes), data_(nullptr) {
  void* address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (address == MAP_FAILED) {
    const int cause = errno;
    ::close(descriptor);
    errno = cause;
    check(false, "mmap", std::to_string(bytes) + " bytes");
  }
  data_ = static_cast<std::byte*>(address);
}

SharedRegion::SharedRegion(SharedRegion&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      bytes_(other.bytes_),
      data_(std::exchange(other.data_, nullptr)) {}

SharedRegion::~SharedRegion() {
  if (data_ != nullptr) munmap(data_, bytes_);
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::string SharedRegion::path() const {
  return detail::concat("/proc/", getpid(), "/fd/", descriptor_);
}

}  // namespace tessera
