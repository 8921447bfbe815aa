#include "worker/comm/mpi_exchange.h"

#include <cstdlib>
#include <cstring>

#include "common/base/error.h"
#include "worker/comm/poll_until.h"

namespace tessera {
namespace {

constexpr int kTag = 0;  // messages between two ranks keep their order

void check(int result, const char* call) {
  TESSERA_CHECK_AS(ErrorCode::kDevice, result == MPI_SUCCESS, call, " failed with ", result);
}

}  // namespace

MpiExchange::MpiExchange(MPI_Comm communicator, const WaitOptions& wait)
    : communicator_(communicator), wait_(wait) {
  check(MPI_Comm_rank(communicator_, &rank_), "MPI_Comm_rank");
  check(MPI_Comm_size(communicator_, &size_), "MPI_Comm_size");
  TESSERA_REQUIRE(size_ <= kMaxRanks, "a replica has ", size_, " ranks; allowed: 1, 2, 4, 8");
  requests_.fill(MPI_REQUEST_NULL);
  const std::size_t bytes = kSlotBytes * static_cast<std::size_t>(1 + size_);
  memory_ = static_cast<std::byte*>(std::aligned_alloc(64, bytes));
  TESSERA_CHECK_AS(ErrorCode::kDevice, memory_ != nullptr, "no memory for messages: ", bytes,
                   " bytes");
  std::memset(memory_, 0, bytes);  // the pages come now, not in the first steps
}

MpiExchange::~MpiExchange() {
  // A message that never went is still MPI's to read or write: its memory ends with the process.
  if (!has_open_requests_) std::free(memory_);
}

std::byte* MpiExchange::received(std::int32_t rank) const {
  return memory_ + kSlotBytes * static_cast<std::size_t>(1 + rank);
}

void MpiExchange::meet(std::string_view call,
                       std::span<const SlotPart> shown,
                       std::span<const SlotPart> read) {
  has_open_requests_ = true;
  for (std::int32_t r = 0; r < size_; ++r) {
    if (r == rank_) continue;
    check(MPI_Irecv(received(r) + read[r].begin, static_cast<int>(read[r].bytes), MPI_BYTE, r, kTag,
                    communicator_, &requests_[2 * r]),
          "MPI_Irecv");
  }
  for (std::int32_t r = 0; r < size_; ++r) {
    if (r == rank_) continue;
    check(MPI_Isend(memory_ + shown[r].begin, static_cast<int>(shown[r].bytes), MPI_BYTE, r, kTag,
                    communicator_, &requests_[2 * r + 1]),
          "MPI_Isend");
  }
  if (!poll_until([this] { return all_done(); }, wait_.num_spins, wait_.timeout)) {
    if (const std::uint32_t late = late_ranks(); late != 0) throw_late(call, late, wait_.timeout);
  }
  has_open_requests_ = false;
}

bool MpiExchange::all_done() {
  int done = 0;
  check(MPI_Testall(2 * size_, requests_.data(), &done, MPI_STATUSES_IGNORE), "MPI_Testall");
  return done != 0;
}

std::uint32_t MpiExchange::late_ranks() {
  std::uint32_t late = 0;
  for (std::int32_t r = 0; r < size_; ++r) {
    for (MPI_Request* request : {&requests_[2 * r], &requests_[2 * r + 1]}) {
      int done = 0;
      check(MPI_Test(request, &done, MPI_STATUS_IGNORE), "MPI_Test");
      if (done == 0) late |= 1U << r;
    }
  }
  return late;
}

}  // namespace tessera
