#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace tessera {

/// The machine that a report was made on; figures mean nothing without it.
struct MachineFacts {
  std::string cpu;         ///< "AMD EPYC 9554 64-Core Processor"
  std::int32_t cores = 0;  ///< Logical ones that this process may use.
  std::int64_t memory_bytes = 0;
  std::string kernel;  ///< "Linux 6.18.0"
  std::string host;
};

MachineFacts machine_facts();

nlohmann::ordered_json to_json(const MachineFacts& facts);

}  // namespace tessera
