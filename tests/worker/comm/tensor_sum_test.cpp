// The contract of Communicator for the sums of every kind of TensorSum but NCCL's, over the
// emulated GPU, for ranks that are threads of this process.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/backend_registry.h"
#include "kernels/cuda/cuda_backend.h"
#include "tests/support/error_matchers.h"
#include "tests/worker/comm/communicator_contract.h"
#include "tests/worker/comm/summing_communicator.h"
#include "tests/worker/comm/thread_ranks.h"
#include "worker/comm/device_sum.h"
#include "worker/comm/single_communicator.h"

namespace tessera {
namespace {

using testing::ContractCase;
using testing::SummingCommunicator;

// Between devices whose memory is the host's.
class HostExchange final : public DeviceExchange {
 public:
  explicit HostExchange(Communicator& communicator) : communicator_(communicator) {}

  std::int32_t rank() const override { return communicator_.rank(); }
  std::int32_t size() const override { return communicator_.size(); }

  void all_gather(const float* mine, float* all, std::int64_t count) override {
    const auto length = static_cast<std::size_t>(count);
    const std::vector<float> copy(mine, mine + count);
    all_gather_values<float>(communicator_, copy, {all, length * static_cast<std::size_t>(size())});
  }

  void exchange(const float* mine, float* theirs, std::int64_t count) override {
    std::vector<float> all(static_cast<std::size_t>(count * size() * size()));
    all_gather_values<float>(communicator_, {mine, static_cast<std::size_t>(count * size())},
                             std::span(all));
    for (std::int64_t r = 0; r < size(); ++r) {
      std::copy_n(all.begin() + (r * size() + rank()) * count, count, theirs + r * count);
    }
  }

  void abort() noexcept override {}

 private:
  Communicator& communicator_;
};

// "host": in the host's memory; "staged": through it; "device": from device to device.
void with_sum(const std::string& kind,
              Communicator& communicator,
              const std::function<void(kernels::Backend&, TensorSum&)>& work) {
  const auto backend =
      kind == "host" ? kernels::create_backend("cpu", {}) : kernels::cuda::create_cuda_backend({});
  HostExchange exchange(communicator);
  const auto sum = create_tensor_sum(communicator, kind == "device" ? &exchange : nullptr, *backend,
                                     SummingCommunicator::kMaxCount);
  EXPECT_EQ(sum->is_capturable(), kind == "device" || communicator.size() == 1);
  work(*backend, *sum);
}

using SumParam = std::tuple<ContractCase, std::string, int>;

class TensorSumTest : public ::testing::TestWithParam<SumParam> {};

TEST_P(TensorSumTest, KeepsTheContractOfACommunicator) {
  const auto& [property, kind, size] = GetParam();
  const WaitOptions wait{std::chrono::seconds(60), /*num_spins=*/0};
  testing::run_thread_ranks(
      size, wait, [&, run = property.run, name = kind](Communicator& communicator) {
        with_sum(name, communicator, [&](kernels::Backend& backend, TensorSum& sum) {
          SummingCommunicator summing(communicator, backend, sum);
          run(summing);
        });
      });
}

INSTANTIATE_TEST_SUITE_P(
    Kinds,
    TensorSumTest,
    ::testing::Combine(::testing::ValuesIn(testing::communicator_contract().begin(),
                                           testing::communicator_contract().end()),
                       ::testing::Values("host", "staged", "device"),
                       ::testing::Values(1, 2, 4, 8)),
    [](const auto& test) {
      return std::string(std::get<0>(test.param).name) + "_" + std::get<1>(test.param) +
             std::to_string(std::get<2>(test.param));
    });

// More than the contract's sums, so that two ranks take two rounds as well; the last values are no
// whole slices.
TEST(DeviceSumTest, AddsWhatTwoRanksExchangeInSlices) {
  const std::int64_t count = DeviceSum::one_round_count(2) + 13;
  testing::run_thread_ranks(2, {}, [count](Communicator& communicator) {
    HostExchange exchange(communicator);
    const auto backend = kernels::cuda::create_cuda_backend({});
    DeviceSum sum(exchange, *backend, count);
    const kernels::Buffer memory = backend->allocate(count * std::int64_t{sizeof(float)});
    const std::span<float> values = memory.values<float>();
    const auto value_of = [](std::int32_t rank, std::size_t i) {
      return static_cast<float>(i % 1009) * (rank == 0 ? 0.1F : 1000.3F);
    };
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = value_of(communicator.rank(), i);
    sum.all_reduce_tree(values);
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(values[i], value_of(0, i) + value_of(1, i)) << i;
    }
  });
}

TEST(DeviceSumTest, RefusesMoreThanThereIsRoomFor) {
  SingleCommunicator communicator;
  HostExchange exchange(communicator);
  const auto backend = kernels::cuda::create_cuda_backend({});
  DeviceSum sum(exchange, *backend, 10);
  const kernels::Buffer values = backend->allocate(11 * sizeof(float));
  EXPECT_ERROR(sum.all_reduce_tree(values.values<float>()), kInvalidArgument);
  sum.all_reduce_tree(values.values<float>().first(10));
}

}  // namespace
}  // namespace tessera
