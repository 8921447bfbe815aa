#include "worker/runtime/model_executor.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "worker/comm/host_ranks.h"
#include "worker/comm/nccl_exchange.h"
#include "worker/runtime/loaded_model.h"
#include "worker/runtime/model_runner.h"
#include "worker/runtime/timed_communicator.h"

namespace tessera {
namespace {

double seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

class ModelExecutor final : public RankExecutor {
 public:
  ModelExecutor(std::unique_ptr<LoadedModel> model,
                std::unique_ptr<Communicator> communicator,
                std::unique_ptr<DeviceExchange> exchange,
                std::int64_t kv_memory_bytes,
                ModelRunnerOptions runner_options)
      : model_(std::move(model)),
        communicator_(std::move(communicator), clock_),
        exchange_(std::move(exchange)),
        kv_memory_bytes_(kv_memory_bytes),
        runner_options_(std::move(runner_options)) {}

  // A sum that waits for lost ranks would keep the memory it uses from being freed.
  ~ModelExecutor() override {
    if (exchange_) exchange_->abort();
  }

  std::int64_t kv_bytes_per_token() const override {
    return kv_shape(model_->spec, model_->shard, *model_->backend).bytes_per_token();
  }
  std::int64_t kv_memory_bytes() const override { return kv_memory_bytes_; }
  std::string checkpoint_digest() const override { return model_->digest; }
  std::string device_name() const override { return std::string(model_->backend->device_name()); }

  bool is_expert_parallel() const override {
    return model_->shard.expert_sharding == ExpertSharding::kByExpert;
  }

  void configure(const RankConfig& config) override {
    runner_.emplace(model_->spec, model_->shard, model_->weights, *model_->backend, communicator_,
                    config, runner_options_);
  }

  StepResult run(const StepPlan& plan) override {
    TESSERA_CHECK(runner_.has_value(), "a step before configure()");
    const TimePoint begin = clock_.now();
    communicator_.take_time();
    StepResult result;
    result.epoch = plan.epoch;
    result.step = plan.step;
    result.rank = model_->shard.rank;
    result.spans = runner_->run(plan);
    const Duration total = clock_.now() - begin;
    const Duration collective = communicator_.take_time();
    result.timing = {seconds(total - collective), seconds(collective)};
    return result;
  }

 private:
  SystemClock clock_;
  std::unique_ptr<LoadedModel> model_;
  TimedCommunicator communicator_;
  std::unique_ptr<DeviceExchange> exchange_;  // null: sums go through host memory
  std::int64_t kv_memory_bytes_;
  ModelRunnerOptions runner_options_;
  std::optional<ModelRunner> runner_;
};

bool sums_over_nccl(const ModelExecutorOptions& options, const Communicator& communicator) {
  return communicator.size() > 1 && options.backend == "cuda" &&
         options.device_collectives == DeviceCollectives::kNccl;
}

// Nobody waits for a rank that cannot load: all say how it went, and all fail with the code of the
// first that failed, so that the job ends the same way whichever rank ends it.
std::unique_ptr<LoadedModel> load_on_all_ranks(const ModelExecutorOptions& options,
                                               Communicator& communicator) {
  constexpr std::int32_t kLoaded = -1;
  std::unique_ptr<LoadedModel> model;
  std::optional<Error> failure;
  try {
    if (sums_over_nccl(options, communicator)) NcclLibrary::load();  // before the weights
    model = load_model(options, communicator.rank(), communicator.size());
  } catch (const Error& error) {
    failure = error;
  }
  const std::int32_t mine = failure ? static_cast<std::int32_t>(failure->code()) : kLoaded;
  std::vector<std::int32_t> all(static_cast<std::size_t>(communicator.size()));
  all_gather_values(communicator, std::span(&mine, 1), std::span(all));
  if (failure) throw Error(*failure);
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    TESSERA_CHECK_AS(static_cast<ErrorCode>(all[rank]), all[rank] == kLoaded, "rank ", rank,
                     " could not load the model");
  }
  return model;
}

// For pages of this rank, with as much for every other rank of the device.
std::int64_t share_of_memory(const kernels::Backend& backend, Communicator& communicator) {
  const std::size_t mine =
      std::hash<std::string>()(host_name() + " " + std::string(backend.physical_device()));
  std::vector<std::size_t> all(static_cast<std::size_t>(communicator.size()));
  all_gather_values(communicator, std::span(&mine, 1), std::span(all));
  return backend.memory_for_pages() / std::ranges::count(all, mine);
}

}  // namespace

LoadFormat load_format_from_name(const std::string& name) {
  if (name == "auto" || name == "safetensors") return LoadFormat::kSafetensors;
  TESSERA_REQUIRE(name == "dummy", "load_format = \"", name,
                  "\" is not one of \"auto\", \"safetensors\", \"dummy\"");
  return LoadFormat::kDummy;
}

DeviceCollectives device_collectives_from_name(const std::string& name) {
  if (name == "nccl") return DeviceCollectives::kNccl;
  TESSERA_REQUIRE(name == "host", "device_collectives = \"", name,
                  "\" is not one of \"nccl\", \"host\"");
  return DeviceCollectives::kHost;
}

std::unique_ptr<RankExecutor> create_model_executor(const ModelExecutorOptions& options,
                                                    std::unique_ptr<Communicator> communicator) {
  std::unique_ptr<LoadedModel> model = load_on_all_ranks(options, *communicator);
  std::unique_ptr<DeviceExchange> exchange;
  if (sums_over_nccl(options, *communicator)) {
    exchange = std::make_unique<NcclExchange>(*communicator, *model->backend, options.wait_timeout);
  }
  const std::int64_t kv_memory_bytes =
      options.kv_memory_bytes.value_or(share_of_memory(*model->backend, *communicator));
  communicator->barrier();  // nobody takes memory for pages before all have looked
  DeviceExchange* const borrowed = exchange.get();
  return std::make_unique<ModelExecutor>(
      std::move(model), std::move(communicator), std::move(exchange), kv_memory_bytes,
      ModelRunnerOptions{options.eager, borrowed, options.on_graph_progress});
}

}  // namespace tessera
