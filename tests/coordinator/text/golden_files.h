#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "coordinator/text/read_file.h"

namespace tessera::testing {

inline std::filesystem::path tiny_sdar_dir() {
  return std::filesystem::path(TESSERA_SOURCE_DIR) / "deploy/models/tiny-sdar";
}

/// Lines of a golden file of tests/golden/text, one JSON document each. Members keep their order.
inline std::vector<nlohmann::ordered_json> golden_lines(const std::string& name) {
  std::ifstream file(std::filesystem::path(TESSERA_SOURCE_DIR) / "tests/golden/text" / name);
  std::vector<nlohmann::ordered_json> lines;
  for (std::string line; std::getline(file, line);) {
    lines.push_back(nlohmann::ordered_json::parse(line));
  }
  return lines;
}

}  // namespace tessera::testing
