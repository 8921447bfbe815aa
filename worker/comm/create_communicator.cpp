#include "worker/comm/create_communicator.h"

#include <array>
#include <optional>
#include <set>
#include <utility>

#include "common/base/error.h"
#include "worker/comm/mpi_exchange.h"
#include "worker/comm/shared_memory_exchange.h"
#include "worker/comm/single_communicator.h"
#include "worker/comm/slot_communicator.h"

namespace tessera {
namespace {

void check(int result, const char* call) {
  TESSERA_CHECK_TRANSPORT(result == MPI_SUCCESS, call, " failed with ", result);
}

// Rank 0 makes the region and tells where it is; all have opened it when this returns.
SharedRegion share_region(MPI_Comm communicator, std::int32_t rank, std::size_t bytes) {
  std::array<char, 64> path{};
  std::optional<SharedRegion> region;
  if (rank == 0) {
    region.emplace(SharedRegion::create("tessera-ranks", bytes));
    region->path().copy(path.data(), path.size() - 1);
  }
  check(MPI_Bcast(path.data(), path.size(), MPI_CHAR, /*root=*/0, communicator), "MPI_Bcast");
  if (rank != 0) region.emplace(SharedRegion::open(path.data(), bytes));
  check(MPI_Barrier(communicator), "MPI_Barrier");
  return *std::move(region);
}

std::unique_ptr<SlotExchange> create_shared_memory(MPI_Comm communicator,
                                                   const HostRanks& hosts,
                                                   const WaitOptions& wait) {
  const std::set<std::string> names(hosts.host_of_rank.begin(), hosts.host_of_rank.end());
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  TESSERA_REQUIRE(hosts.is_one_host(), "communicator is shared_memory, but the ranks are on ",
                  "several hosts (", list, "); allowed: auto, mpi");
  const std::int32_t size = hosts.num_local();
  const std::size_t bytes = SharedMemoryExchange::region_bytes(size);
  return std::make_unique<SharedMemoryExchange>(share_region(communicator, hosts.local_rank, bytes),
                                                hosts.local_rank, size, wait);
}

}  // namespace

std::unique_ptr<Communicator> create_communicator(MPI_Comm communicator,
                                                  const std::string& kind,
                                                  const HostRanks& hosts,
                                                  const WaitOptions& wait) {
  const bool is_known = kind == "auto" || kind == "shared_memory" || kind == "mpi";
  TESSERA_REQUIRE(is_known, "communicator is \"", kind, "\"; allowed: auto, shared_memory, mpi");
  const std::size_t size = hosts.host_of_rank.size();
  TESSERA_REQUIRE(size == 1 || size == 2 || size == 4 || size == 8, "the job has ", size,
                  " ranks; allowed: 1, 2, 4, 8");
  if (size == 1) return std::make_unique<SingleCommunicator>();
  const bool shares = kind == "shared_memory" || (kind == "auto" && hosts.is_one_host());
  std::unique_ptr<SlotExchange> exchange;
  if (shares) {
    exchange = create_shared_memory(communicator, hosts, wait);
  } else {
    exchange = std::make_unique<MpiExchange>(communicator, wait);
  }
  return std::make_unique<SlotCommunicator>(std::move(exchange));
}

}  // namespace tessera
