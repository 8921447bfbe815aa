// The contract of Communicator for ranks that are threads of this process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "common/base/error.h"
#include "tests/worker/comm/communicator_contract.h"
#include "tests/worker/comm/thread_ranks.h"
#include "worker/comm/create_communicator.h"
#include "worker/comm/single_communicator.h"

namespace tessera {
namespace {

using std::chrono::milliseconds;
using testing::CollectiveCall;
using testing::ContractCase;

constexpr WaitOptions kPatient{milliseconds(60'000), /*num_spins=*/0};
constexpr WaitOptions kImpatient{milliseconds(400), /*num_spins=*/0};

using SharedMemoryParam = std::tuple<ContractCase, int>;

class SharedMemoryContractTest : public ::testing::TestWithParam<SharedMemoryParam> {};

TEST_P(SharedMemoryContractTest, Holds) {
  const auto& [property, size] = GetParam();
  testing::run_thread_ranks(size, kPatient, property.run);
}

INSTANTIATE_TEST_SUITE_P(
    Communicator,
    SharedMemoryContractTest,
    ::testing::Combine(::testing::ValuesIn(testing::communicator_contract().begin(),
                                           testing::communicator_contract().end()),
                       ::testing::Values(1, 2, 4, 8)),
    [](const auto& test) {
      return std::string(std::get<0>(test.param).name) + std::to_string(std::get<1>(test.param));
    });

TEST(SingleCommunicatorTest, KeepsTheContract) {
  for (const ContractCase& property : testing::communicator_contract()) {
    SCOPED_TRACE(property.name);
    SingleCommunicator communicator;
    property.run(communicator);
  }
}

void expect_absence_is_named(std::int32_t size, const CollectiveCall& call) {
  const std::int32_t absent = size - 1;
  testing::run_thread_ranks(size, kImpatient, [&](Communicator& communicator) {
    if (communicator.rank() == absent) return;
    testing::expect_absence_is_named(communicator, call, absent);
  });
}

TEST(SharedMemoryCommunicatorTest, NamesARankThatNeverComes) {
  for (const CollectiveCall& call : testing::collective_calls()) expect_absence_is_named(2, call);
  expect_absence_is_named(8, testing::collective_calls().front());
}

TEST(SharedMemoryCommunicatorTest, SpinningRanksAgreeToo) {
  constexpr WaitOptions kSpinning{milliseconds(60'000), /*num_spins=*/1000};
  testing::run_thread_ranks(2, kSpinning, testing::communicator_contract().front().run);
}

std::string refusal(const std::string& kind, const HostRanks& hosts) {
  try {
    create_communicator(MPI_COMM_NULL, kind, hosts, kPatient);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "it was created";
}

TEST(CreateCommunicatorTest, RefusesWhatCannotBe) {
  using ::testing::HasSubstr;
  HostRanks hosts;
  hosts.host_of_rank = {"left", "right"};
  hosts.local_cpus.resize(1);
  EXPECT_THAT(refusal("shared_memory", hosts), HasSubstr("left, right"));
  EXPECT_THAT(refusal("nccl", hosts), HasSubstr("auto, shared_memory, mpi"));
  hosts.host_of_rank = {"a", "a", "a"};
  hosts.local_cpus.resize(3);
  EXPECT_THAT(refusal("auto", hosts), HasSubstr("1, 2, 4, 8"));
}

}  // namespace
}  // namespace tessera
