#include <algorithm>
#include <array>
#include <limits>

#include "common/base/error.h"
#include "common/base/nearest_name.h"
#include "common/config/config_key.h"
#include "common/decoding/preset.h"

namespace tessera {
namespace {

using std::string_view;

constexpr string_view kModel = "Model";
constexpr string_view kHttp = "HTTP server";
constexpr string_view kDecoding = "Decoding";
constexpr string_view kScheduling = "Scheduling and memory";
constexpr string_view kRanks = "Ranks";
constexpr string_view kCluster = "Cluster";
constexpr string_view kLog = "Log";

constexpr std::uint8_t kS = program_bit(Program::kServe);
constexpr std::uint8_t kC = program_bit(Program::kCoordinator);
constexpr std::uint8_t kW = program_bit(Program::kWorker);

constexpr std::int64_t kMaxInt = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t kMaxBytes = std::int64_t{1} << 50;
constexpr std::int64_t kDay = 86'400'000;

constexpr std::array<string_view, 2> kLoadFormats = {"auto", "dummy"};
constexpr std::array<string_view, 3> kBackends = {"cpu", "cuda", "reference"};
constexpr std::array<string_view, 3> kInstructionSets = {"auto", "avx512", "avx2"};
constexpr std::array<string_view, 3> kCommunicators = {"auto", "shared_memory", "mpi"};
constexpr std::array<string_view, 2> kDeviceCollectives = {"nccl", "host"};
constexpr std::array<string_view, 4> kLogLevels = {"debug", "info", "warning", "error"};
constexpr std::array<string_view, 2> kLogFormats = {"text", "json"};

// name, section, field, programs, help, minimum, maximum, choices, what holds when unset
const ConfigKey kKeys[] = {
    {"model", kModel, &ServerConfig::model, kS | kC | kW,
     "Directory of the checkpoint as Hugging Face publishes it: config.json, tokenizer.json "
     "(or vocab.json and merges.txt), *.safetensors. Also the positional argument."},
    {"served_model_name",
     kModel,
     &ServerConfig::served_model_name,
     kS | kC,
     "Name by which clients ask for the model; \"default\" always works too.",
     0,
     0,
     {},
     "last component of the model's path"},
    {"load_format", kModel, &ServerConfig::load_format, kS | kC | kW,
     "auto reads the checkpoint's tensors; dummy fills weights in memory from a generator and "
     "needs config.json and the tokenizer only (benchmarks).",
     0, 0, kLoadFormats},
    {"chat_template",
     kModel,
     &ServerConfig::chat_template,
     kS | kC,
     "File with a chat template that replaces the checkpoint's.",
     0,
     0,
     {},
     "the checkpoint's"},

    {"host", kHttp, &ServerConfig::host, kS | kC,
     "Address the HTTP server binds to; 0.0.0.0 for every interface."},
    {"port", kHttp, &ServerConfig::port, kS | kC,
     "Port of the HTTP server; 0 takes a free one, which the log names.", 0, 65535},
    {"api_key_file",
     kHttp,
     &ServerConfig::api_key_file,
     kS | kC,
     "File with one API key per line; requests must then carry one as a bearer token.",
     0,
     0,
     {},
     "no authentication"},
    {"max_body_bytes", kHttp, &ServerConfig::max_body_bytes, kS | kC,
     "Longest request body; a longer one is answered 413.", 1024, std::int64_t{1} << 30},
    {"max_connections", kHttp, &ServerConfig::max_connections, kS | kC,
     "Open HTTP connections; further ones are answered 503 and closed.", 1, 65536},
    {"header_timeout", kHttp, &ServerConfig::header_timeout, kS | kC,
     "Time a client has to send a whole request, headers and body.", 100, kDay},
    {"request_timeout", kHttp, &ServerConfig::request_timeout, kS | kC,
     "Deadline of a request from its arrival; 0 sets none.", 0, kDay},
    {"sse_ping_interval", kHttp, &ServerConfig::sse_ping_interval, kS | kC,
     "Silence after which a comment is sent on a stream so that proxies keep it open; 0 sends "
     "none. Some benchmark clients lose events after pings closer than 15 s.",
     0, kDay},
    {"drain_timeout", kHttp, &ServerConfig::drain_timeout, kS | kC,
     "After SIGTERM accepted requests have this long to finish; a second signal ends at once.", 0,
     kDay},

    {"strategy",
     kDecoding,
     &ServerConfig::strategy,
     kS | kC,
     "Decoding strategy of requests that name none.",
     0,
     0,
     {},
     "the first strategy that accepts the model"},
    {"preset", kDecoding, &ServerConfig::preset, kS | kC,
     "Values of the strategy's options for requests that name no preset: the most careful, a "
     "middle, or the fastest. block_size, buffer_size and strategy_options win over it.",
     0, 0, kPresetNames, "the strategy's defaults"},
    {"block_size",
     kDecoding,
     &ServerConfig::block_size,
     kS | kC,
     "Tokens per block of requests that ask for none; must divide page_size.",
     1,
     1024,
     {},
     "the checkpoint's, else the strategy's default"},
    {"buffer_size",
     kDecoding,
     &ServerConfig::buffer_size,
     kS | kC,
     "Blocks of one request that are denoised side by side.",
     1,
     64,
     {},
     "the strategy's default"},

    {"page_size", kScheduling, &ServerConfig::page_size, kS | kC | kW,
     "Tokens per page of the KV cache. Every block size that divides it may be asked for.", 1,
     1024},
    {"kv_memory",
     kScheduling,
     &ServerConfig::kv_memory,
     kS | kC | kW,
     "Memory for the KV cache of each rank.",
     1024,
     kMaxBytes,
     {},
     "512MiB; on a GPU 85 % of what it has left after the weights, shared by its ranks"},
    {"max_model_len",
     kScheduling,
     &ServerConfig::max_model_len,
     kS | kC | kW,
     "Longest sequence, prompt and output together, in tokens.",
     1,
     kMaxInt,
     {},
     "the checkpoint's"},
    {"max_running_requests", kScheduling, &ServerConfig::max_running_requests, kS | kC | kW,
     "Requests of one replica that are decoded at the same time.", 1, 65536},
    {"max_waiting_requests", kScheduling, &ServerConfig::max_waiting_requests, kS | kC,
     "Requests that may wait; beyond them the answer is 429.", 0, 1'000'000},
    {"max_step_rows",
     kScheduling,
     &ServerConfig::max_step_rows,
     kS | kC | kW,
     "Rows (token positions) of one step; longer prompts are spread over steps. Those of all "
     "buffers must fit, so it also bounds how many requests run at once.",
     1,
     65536,
     {},
     "512; on a GPU 2048"},
    {"prefix_cache", kScheduling, &ServerConfig::prefix_cache, kS | kC,
     "Keep the pages of finished prompts for requests that begin the same way."},

    {"tp", kRanks, &ServerConfig::tp, kS | kC, "Tensor-parallel ranks of a replica: 1, 2, 4 or 8.",
     1, 8},
    {"expert_parallel", kRanks, &ServerConfig::expert_parallel, kS | kW,
     "Every rank has whole experts of a mixture of experts, not a part of the width of each; tp "
     "must divide their number. A mode of its own: the same text on any number of ranks, but not "
     "the text of the other mode. All ranks of a server have the same."},
    {"replicas", kRanks, &ServerConfig::replicas, kS | kC,
     "Copies of the model, each with ranks and pages of its own.", 1, 64},
    {"backend", kRanks, &ServerConfig::backend, kS | kC | kW,
     "cpu: fast kernels; cuda: a GPU for each rank, which share one where there are fewer; "
     "reference: plain loops in high precision, slow.",
     0, 0, kBackends},
    {"deterministic", kRanks, &ServerConfig::deterministic, kS | kW,
     "Of the cuda back end: tokens do not depend on what else is in the batch, nor on tp. Costs "
     "speed; the others always are."},
    {"eager", kRanks, &ServerConfig::eager, kS | kW,
     "Of the cuda back end: launch steps operation by operation, not as CUDA graphs. The same "
     "tokens, slower; starts sooner and takes less memory."},
    {"device_collectives", kRanks, &ServerConfig::device_collectives, kS | kW,
     "How ranks of the cuda back end sum: nccl from GPU to GPU; host through host memory and the "
     "communicator, which needs no NCCL, is slow and leaves CUDA graphs out.",
     0, 0, kDeviceCollectives},
    {"first_device", kRanks, &ServerConfig::first_device, kS | kW,
     "Of the cuda back end: GPU of the first rank on a machine, counted from 0. Further ranks, and "
     "of serve further replicas, take the next ones, and begin again at 0 behind the last.",
     0, 1023},
    {"threads_per_rank", kRanks, &ServerConfig::threads_per_rank, kS | kW,
     "Compute threads of a rank; 0 shares out the machine's cores among its ranks.", 0, 1024},
    {"instruction_set", kRanks, &ServerConfig::instruction_set, kS | kW,
     "Of the cpu back end. avx512 (needs AVX-512 BF16) and avx2 differ in the last bits; auto "
     "takes the best the machine has.",
     0, 0, kInstructionSets},
    {"communicator", kRanks, &ServerConfig::communicator, kS | kW,
     "How the ranks of a replica exchange sums: shared_memory on one machine, mpi across "
     "machines; auto looks where the ranks are.",
     0, 0, kCommunicators},

    {"control_endpoint", kCluster, &ServerConfig::control_endpoint, kS | kC,
     "Where the coordinator listens for workers, tcp://ADDRESS:PORT; port * takes a free one. "
     "Loopback unless workers run on other machines."},
    {"coordinator",
     kCluster,
     &ServerConfig::coordinator,
     kW,
     "The coordinator's control endpoint, tcp://HOST:PORT.",
     0,
     0,
     {},
     "the one that the launcher of the job starts"},
    {"control_token_file",
     kCluster,
     &ServerConfig::control_token_file,
     kS | kC | kW,
     "File with a secret that workers and coordinator share; a worker that shows another one is "
     "turned away.",
     0,
     0,
     {},
     "no secret"},
    {"heartbeat_interval", kCluster, &ServerConfig::heartbeat_interval, kS | kC | kW,
     "How often ranks say that they live.", 10, 60'000},
    {"heartbeat_timeout", kCluster, &ServerConfig::heartbeat_timeout, kS | kC,
     "Silence after which a rank whose connection stands counts as hung. A dead process or machine "
     "is found without it, within a second: its connection closes, or its kernel stops answering.",
     20, kDay},
    {"coordinator_timeout", kCluster, &ServerConfig::coordinator_timeout, kS | kW,
     "Workers exit when the coordinator has been silent for this long.", 100, kDay},
    {"join_timeout", kCluster, &ServerConfig::join_timeout, kS | kC | kW,
     "Time the ranks of a replica have from its start until all have joined and loaded.", 1000,
     kDay},
    {"step_timeout", kCluster, &ServerConfig::step_timeout, kS | kC,
     "A step that takes longer means a hung rank: the replica is torn down.", 100, kDay},
    {"restart_budget", kCluster, &ServerConfig::restart_budget, kS,
     "How many times a lost replica is started again before its requests fail.", 0, 1'000'000},

    {"log_level", kLog, &ServerConfig::log_level, kS | kC | kW, "Least severity that is logged.", 0,
     0, kLogLevels},
    {"log_format", kLog, &ServerConfig::log_format, kS | kC | kW,
     "text, or json with one object per line.", 0, 0, kLogFormats},
};

}  // namespace

std::span<const ConfigKey> config_keys() {
  return kKeys;
}

const ConfigKey* find_config_key(std::string_view name) {
  const auto* found = std::ranges::find(kKeys, name, &ConfigKey::name);
  return found == std::end(kKeys) ? nullptr : found;
}

void throw_unknown_key(std::string_view name) {
  std::vector<std::string_view> known = {"strategy_options"};
  for (const ConfigKey& key : kKeys) known.push_back(key.name);
  throw Error(ErrorCode::kInvalidArgument,
              detail::concat("unknown key \"", name, "\"; did you mean \"",
                             nearest_name(name, known), "\"?"));
}

}  // namespace tessera
