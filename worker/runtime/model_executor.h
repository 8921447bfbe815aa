#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/model_spec/sharding.h"
#include "worker/comm/communicator.h"
#include "worker/runtime/rank_executor.h"

namespace tessera {

enum class LoadFormat : std::uint8_t {
  kSafetensors,  ///< The checkpoint's *.safetensors.
  kDummy,        ///< Random weights made in memory from config.json alone.
};

/// "auto" or "safetensors", "dummy". @throws Error{kInvalidArgument} for another name.
LoadFormat load_format_from_name(const std::string& name);

/// How ranks with a device each sum over ranks.
enum class DeviceCollectives : std::uint8_t {
  kNccl,  ///< From device to device.
  kHost,  ///< Through host memory and the communicator: needs no NCCL, slow.
};

/// "nccl", "host". @throws Error{kInvalidArgument} for another name.
DeviceCollectives device_collectives_from_name(const std::string& name);

/// What a worker's own flags say about the model; comes from its command line.
struct ModelExecutorOptions {
  std::string model_dir;  ///< config.json, tokenizer.json; *.safetensors unless kDummy.
  LoadFormat load_format = LoadFormat::kSafetensors;
  ExpertSharding experts = ExpertSharding::kByWidth;
  std::string backend = "cpu";  ///< "cpu", "cuda" or "reference"
  std::int32_t device = 0;      ///< As kernels::BackendOptions has it.
  bool deterministic = false;   ///< Likewise.
  DeviceCollectives device_collectives = DeviceCollectives::kNccl;
  std::chrono::milliseconds wait_timeout{300'000};  ///< Of sums between devices, for a late rank.
  std::int32_t num_threads = 1;    ///< Compute threads of this rank, the calling one included.
  std::vector<std::int32_t> cpus;  ///< As kernels::BackendOptions has it: where threads run.
  std::string instruction_set;     ///< Likewise; empty: the best this machine has.
  /// For this rank's pages; none: what the back end gives for them once all ranks have loaded,
  /// divided by the ranks that share it.
  std::optional<std::int64_t> kv_memory_bytes;

  /// Called from the loading thread with (bytes done, bytes in all), at most about 100 times.
  std::function<void(std::int64_t, std::int64_t)> on_load_progress;

  bool eager = false;  ///< As ModelRunnerOptions has it.
  std::function<void(std::size_t, std::size_t)> on_graph_progress;  ///< Likewise.
};

/// Reads the model and loads this rank's share of its weights. Collective: every rank of
/// `communicator` calls it. Returns once all ranks have loaded.
///
/// @throws Error{kInvalidArgument} for what the configuration or the checkpoint does wrong, naming
/// field, tensor and file; for a back end that does not exist or a TP degree that is not legal.
std::unique_ptr<RankExecutor> create_model_executor(const ModelExecutorOptions& options,
                                                    std::unique_ptr<Communicator> communicator);

}  // namespace tessera
