// The contract of Communicator for the ranks of an mpirun job: every process runs all tests, in
// the same order. CTest starts it with 1, 2, 4 and 8 ranks.
#include <gtest/gtest.h>
#include <mpi.h>

#include <chrono>
#include <memory>
#include <string>
#include <tuple>

#include "tests/worker/comm/communicator_contract.h"
#include "worker/comm/create_communicator.h"
#include "worker/comm/mpi_exchange.h"

namespace tessera {
namespace {

using std::chrono::milliseconds;
using testing::CollectiveCall;
using testing::ContractCase;

constexpr WaitOptions kPatient{milliseconds(60'000), /*num_spins=*/0};
constexpr WaitOptions kImpatient{milliseconds(400), /*num_spins=*/0};

using MpiParam = std::tuple<ContractCase, std::string>;

class RanksContractTest : public ::testing::TestWithParam<MpiParam> {};

TEST_P(RanksContractTest, Holds) {
  const auto& [property, kind] = GetParam();
  const HostRanks hosts = find_host_ranks(MPI_COMM_WORLD);
  const auto communicator = create_communicator(MPI_COMM_WORLD, kind, hosts, kPatient);
  property.run(*communicator);
}

INSTANTIATE_TEST_SUITE_P(
    Communicator,
    RanksContractTest,
    ::testing::Combine(::testing::ValuesIn(testing::communicator_contract().begin(),
                                           testing::communicator_contract().end()),
                       ::testing::Values("shared_memory", "mpi")),
    [](const auto& test) {
      return std::string(std::get<0>(test.param).name) + "_" + std::get<1>(test.param);
    });

TEST(RanksTest, AutoTakesSharedMemoryOnOneHost) {
  const HostRanks hosts = find_host_ranks(MPI_COMM_WORLD);
  EXPECT_TRUE(hosts.is_one_host());
  const auto communicator = create_communicator(MPI_COMM_WORLD, "auto", hosts, kPatient);
  EXPECT_EQ(communicator->size(), static_cast<std::int32_t>(hosts.host_of_rank.size()));
}

void expect_absence_is_named(const std::string& kind, const CollectiveCall& call) {
  SCOPED_TRACE(kind + " " + call.name);
  // What was sent to the absent rank must not meet the next case's messages.
  MPI_Comm own = MPI_COMM_NULL;
  MPI_Comm_dup(MPI_COMM_WORLD, &own);
  const HostRanks hosts = find_host_ranks(own);
  const auto communicator = create_communicator(own, kind, hosts, kImpatient);
  const std::int32_t absent = communicator->size() - 1;
  if (communicator->rank() == absent) return;
  testing::expect_absence_is_named(*communicator, call, absent);
}

TEST(RanksTest, ARankThatNeverComesIsNamed) {
  const std::size_t num_ranks = find_host_ranks(MPI_COMM_WORLD).host_of_rank.size();
  for (const std::string kind : {"shared_memory", "mpi"}) {
    for (const CollectiveCall& call : testing::collective_calls().first(num_ranks == 2 ? 5 : 1)) {
      if (num_ranks > 1) expect_absence_is_named(kind, call);
    }
  }
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  ::testing::InitGoogleTest(&argc, argv);
  const int result = RUN_ALL_TESTS();
  if (result != 0) MPI_Abort(MPI_COMM_WORLD, result);
  MPI_Finalize();
  return 0;
}
