// Sums between GPUs over NCCL, for the ranks of an mpirun job: every process runs all tests, in the
// same order. Ranks share a GPU where there are fewer. CTest starts it with 2 and 4 ranks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "kernels/backend_registry.h"
#include "tests/support/error_matchers.h"
#include "tests/worker/comm/communicator_contract.h"
#include "tests/worker/comm/summing_communicator.h"
#include "worker/comm/create_communicator.h"
#include "worker/comm/device_sum.h"
#include "worker/comm/nccl_exchange.h"

namespace tessera {
namespace {

using std::chrono::milliseconds;
using testing::ContractCase;
using testing::SummingCommunicator;

constexpr milliseconds kPatient{60'000};
constexpr milliseconds kImpatient{1'500};

// One rank's side of a test. The others' may not end before this one has its sums.
class NcclRanksTest : public ::testing::Test {
 protected:
  void SetUp() override {
    hosts_ = find_host_ranks(MPI_COMM_WORLD);
    kernels::BackendOptions options;
    options.device = hosts_.local_rank;
    backend_ = kernels::create_backend("cuda", options);
    communicator_ = create(kPatient);
  }
  void TearDown() override { communicator_->barrier(); }

  std::unique_ptr<Communicator> create(milliseconds timeout) {
    // What was sent to an absent rank must not meet the next case's messages.
    MPI_Comm own = MPI_COMM_NULL;
    MPI_Comm_dup(MPI_COMM_WORLD, &own);
    return create_communicator(own, "auto", hosts_, {timeout, /*num_spins=*/0});
  }

  bool is_absent() const { return communicator_->rank() == communicator_->size() - 1; }
  std::string name_of_absent() const { return std::to_string(communicator_->size() - 1); }

  HostRanks hosts_;
  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<Communicator> communicator_;
};

class NcclContractTest : public NcclRanksTest,
                         public ::testing::WithParamInterface<ContractCase> {};

TEST_P(NcclContractTest, Holds) {
  NcclExchange exchange(*communicator_, *backend_, kPatient);
  const auto sum =
      create_tensor_sum(*communicator_, &exchange, *backend_, SummingCommunicator::kMaxCount);
  EXPECT_TRUE(sum->is_capturable());
  SummingCommunicator summing(*communicator_, *backend_, *sum);
  GetParam().run(summing);
  communicator_->barrier();
}

INSTANTIATE_TEST_SUITE_P(Nccl,
                         NcclContractTest,
                         ::testing::ValuesIn(testing::communicator_contract().begin(),
                                             testing::communicator_contract().end()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_F(NcclRanksTest, ARankThatNeverComesToASumIsAnErrorWithinTheTimeout) {
  {
    NcclExchange exchange(*communicator_, *backend_, kImpatient);
    const auto sum = create_tensor_sum(*communicator_, &exchange, *backend_, 1000);
    if (!is_absent()) {
      const kernels::Buffer memory = backend_->allocate(4000);
      const auto begin = std::chrono::steady_clock::now();
      sum->all_reduce_tree(memory.values<float>());
      float first = 0.0F;
      EXPECT_ERROR(backend_->download(memory.data(), &first, sizeof(first)), kDevice);
      EXPECT_LT(std::chrono::steady_clock::now() - begin, 4 * kImpatient);
      EXPECT_ERROR(sum->all_reduce_tree(memory.values<float>()), kDevice);
    }
    communicator_->barrier();  // until then the absent rank lives
  }
  // The next ones find a device that works.
  NcclExchange exchange(*communicator_, *backend_, kPatient);
  const auto sum = create_tensor_sum(*communicator_, &exchange, *backend_, 10);
  communicator_->barrier();
}

TEST_F(NcclRanksTest, ARankThatNeverComesToTheStartIsNamed) {
  const auto hasty = create(kImpatient);
  if (!is_absent()) {
    try {
      const NcclExchange exchange(*hasty, *backend_, kImpatient);
      ADD_FAILURE() << "started without a rank";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kDevice);
      EXPECT_THAT(error.what(), ::testing::HasSubstr("rank " + name_of_absent()));
    }
  }
}

// An exchange that is given up while its rank waits for others lets the device's memory be freed.
TEST_F(NcclRanksTest, EndsWithASumUnderWay) {
  NcclExchange exchange(*communicator_, *backend_, kPatient);
  const auto sum = create_tensor_sum(*communicator_, &exchange, *backend_, 1000);
  const kernels::Buffer memory = backend_->allocate(4000);
  if (!is_absent()) sum->all_reduce_tree(memory.values<float>());
  communicator_->barrier();
  exchange.abort();
}

TEST_F(NcclRanksTest, ARankThatNeverComesToAGraphIsAnErrorWithinTheTimeout) {
  NcclExchange exchange(*communicator_, *backend_, kImpatient);
  const auto sum = create_tensor_sum(*communicator_, &exchange, *backend_, 1000);
  const kernels::Buffer memory = backend_->allocate(4000);
  const auto graph = backend_->capture([&] { sum->all_reduce_tree(memory.values<float>()); });
  communicator_->barrier();
  if (!is_absent()) {
    float first = 0.0F;
    graph->launch();
    EXPECT_ERROR(backend_->download(memory.data(), &first, sizeof(first)), kDevice);
  }
  communicator_->barrier();
  exchange.abort();
}

// Sums are what a step's graph is made of; replayed with other values it gives the bits of eager
// ones.
TEST_F(NcclRanksTest, AGraphHoldsSumsOfBothKinds) {
  const std::int64_t many = DeviceSum::one_round_count(communicator_->size()) + 5;
  NcclExchange exchange(*communicator_, *backend_, kPatient);
  const auto sum = create_tensor_sum(*communicator_, &exchange, *backend_, many);
  const kernels::Buffer memory = backend_->allocate(many * 4);
  const auto reduce = [&] {
    sum->all_reduce_tree(memory.values<float>().first(100));
    sum->all_reduce_tree(memory.values<float>());
  };
  const auto values_of = [&](int round) {
    std::vector<float> values(static_cast<std::size_t>(many));
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto bits = (i * 2654435761U + static_cast<unsigned>(round * 97)) % 1000003U;
      values[i] = static_cast<float>(bits) * 0.37F * static_cast<float>(1 + communicator_->rank());
    }
    return values;
  };
  const auto graph = backend_->capture(reduce);
  for (int round = 0; round < 3; ++round) {
    const std::vector<float> values = values_of(round);
    std::vector<float> eager(values.size());
    std::vector<float> replayed(values.size());
    backend_->upload(values.data(), memory.data(), memory.num_bytes());
    reduce();
    backend_->download(memory.data(), eager.data(), memory.num_bytes());
    backend_->upload(values.data(), memory.data(), memory.num_bytes());
    graph->launch();
    backend_->download(memory.data(), replayed.data(), memory.num_bytes());
    EXPECT_TRUE(eager == replayed) << round;
    EXPECT_FALSE(eager == values);
  }
  communicator_->barrier();
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  ::testing::InitGoogleTest(&argc, argv);
  try {
    tessera::kernels::create_backend("cuda", {});
  } catch (const tessera::Error& error) {
    std::printf("[  SKIPPED ] %s\n", error.what());
    MPI_Finalize();
    return 0;
  }
  const int result = RUN_ALL_TESTS();
  if (result != 0) MPI_Abort(MPI_COMM_WORLD, result);
  MPI_Finalize();
  return 0;
}
