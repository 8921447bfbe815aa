#include "worker/comm/nccl_exchange.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "worker/comm/host_ranks.h"

namespace tessera {
namespace {

/// Where a rank computes, zero-terminated.
struct Place {
  std::array<char, 64> host{};
  std::array<char, 64> device{};

  bool operator==(const Place&) const = default;
};

template <std::size_t kSize>
void copy_text(std::string_view text, std::array<char, kSize>& to) {
  text.substr(0, kSize - 1).copy(to.data(), kSize - 1);
}

// NCCL refuses ranks of one host that share a GPU. It takes the first on every GPU for one host,
// the second ones for another, and so on, if their host ids say so.
void set_host_id(std::span<const Place> places, std::size_t rank) {
  const auto sharers_before = [&](std::size_t r) {
    return std::count(places.begin(), places.begin() + static_cast<std::ptrdiff_t>(r), places[r]);
  };
  bool is_shared = false;
  for (std::size_t r = 0; r < places.size(); ++r) is_shared |= sharers_before(r) > 0;
  if (!is_shared) return;
  const std::string id =
      std::string(places[rank].host.data()) + "-" + std::to_string(sharers_before(rank));
  // NCCL has no other way to be told.
  setenv("NCCL_HOSTID", id.c_str(), /*overwrite=*/1);
}

}  // namespace

NcclExchange::NcclExchange(Communicator& communicator,
                           kernels::Backend& backend,
                           std::chrono::milliseconds timeout)
    : nccl_(NcclLibrary::load()),
      backend_(backend),
      rank_(communicator.rank()),
      size_(communicator.size()),
      timeout_(timeout) {
  Place mine;
  copy_text(host_name(), mine.host);
  copy_text(backend.physical_device(), mine.device);
  std::vector<Place> places(static_cast<std::size_t>(size_));
  all_gather_values(communicator, std::span<const Place>(&mine, 1), std::span(places));
  set_host_id(places, static_cast<std::size_t>(rank_));  // before NCCL looks

  NcclLibrary::UniqueId id{};
  if (rank_ == 0) nccl_.check(nccl_.get_unique_id(&id), "ncclGetUniqueId");
  communicator.broadcast(std::as_writable_bytes(std::span(&id, 1)), /*root=*/0);
  communicator.barrier();  // names whom NCCL would wait for
  nccl_.check(nccl_.comm_init_rank(&communicator_, size_, id, rank_), "ncclCommInitRank");
  backend_.watch_waits([this](std::chrono::milliseconds waited) { on_wait(waited); });
}

NcclExchange::~NcclExchange() {
  backend_.watch_waits(nullptr);
  abort();
  abort_.join();
}

void NcclExchange::all_gather(const float* mine, float* all, std::int64_t count) {
  require_usable();
  last_call_ = "all_gather";
  nccl_.check(nccl_.all_gather(mine, all, static_cast<std::size_t>(count), NcclLibrary::kFloat32,
                               communicator_, backend_.native_stream()),
              "ncclAllGather");
}

void NcclExchange::exchange(const float* mine, float* theirs, std::int64_t count) {
  require_usable();
  last_call_ = "exchange";
  const auto length = static_cast<std::size_t>(count);
  nccl_.check(nccl_.group_start(), "ncclGroupStart");
  for (std::int32_t r = 0; r < size_; ++r) {
    nccl_.check(nccl_.send(mine + r * count, length, NcclLibrary::kFloat32, r, communicator_,
                           backend_.native_stream()),
                "ncclSend");
    nccl_.check(nccl_.recv(theirs + r * count, length, NcclLibrary::kFloat32, r, communicator_,
                           backend_.native_stream()),
                "ncclRecv");
  }
  nccl_.check(nccl_.group_end(), "ncclGroupEnd");
}

void NcclExchange::on_wait(std::chrono::milliseconds waited) {
  if (communicator_ == nullptr) return;  // a wait for the ends of what was aborted
  NcclLibrary::Result state = NcclLibrary::kSuccess;
  nccl_.check(nccl_.comm_get_async_error(communicator_, &state), "ncclCommGetAsyncError");
  const bool is_late = waited >= timeout_;
  const bool has_failed = state != NcclLibrary::kSuccess && state != NcclLibrary::kInProgress;
  if (!is_late && !has_failed) return;
  abort();
  if (has_failed) nccl_.check(state, last_call_);
  throw Error(ErrorCode::kDevice,
              detail::concat("rank ", rank_, " has waited for its GPU for ", waited.count(),
                             " ms: another rank did not come to the last sum over ranks (",
                             last_call_, " of NCCL)"));
}

// On a thread of its own: NCCL tells its kernels at once, but then waits until the last graph that
// holds some is gone, which is for the caller to see to.
void NcclExchange::abort() noexcept {
  if (communicator_ == nullptr) return;
  abort_ = std::thread([this, communicator = communicator_] { nccl_.comm_abort(communicator); });
  communicator_ = nullptr;
}

void NcclExchange::require_usable() const {
  TESSERA_CHECK_AS(ErrorCode::kDevice, communicator_ != nullptr,
                   "a rank was late to a sum over ranks before: NCCL's communicator is of no use");
}

}  // namespace tessera
