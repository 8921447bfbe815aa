#include "coordinator/frontend/api_keys.h"

#include <algorithm>
#include <cctype>
#include <fstream>

#include "common/base/error.h"

namespace tessera {
namespace {

// Looks at every byte of `given`, so that time tells its length, which its sender knows.
bool equals_in_constant_time(std::string_view key, std::string_view given) {
  unsigned difference = key.size() == given.size() ? 0U : 1U;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const char expected = i < key.size() ? key[i] : '\0';
    difference |= static_cast<unsigned>(static_cast<unsigned char>(expected ^ given[i]));
  }
  return difference == 0;
}

}  // namespace

std::vector<std::string> load_api_keys(const std::filesystem::path& file) {
  std::ifstream in(file);
  TESSERA_REQUIRE(in.good(), "API key file ", file.string(), " cannot be read");
  std::vector<std::string> keys;
  for (std::string line; std::getline(in, line);) {
    const auto is_space = [](unsigned char c) { return std::isspace(c) != 0; };
    line.erase(line.begin(), std::find_if_not(line.begin(), line.end(), is_space));
    line.erase(std::find_if_not(line.rbegin(), line.rend(), is_space).base(), line.end());
    if (!line.empty() && line.front() != '#') keys.push_back(line);
  }
  TESSERA_REQUIRE(!keys.empty(), "API key file ", file.string(), " holds no key");
  return keys;
}

bool is_authorized(const std::vector<std::string>& keys, std::string_view authorization) {
  constexpr std::string_view kScheme = "bearer ";
  const bool is_bearer =
      authorization.size() > kScheme.size() &&
      std::equal(kScheme.begin(), kScheme.end(), authorization.begin(), [](char a, char b) {
        return a == static_cast<char>(std::tolower(static_cast<unsigned char>(b)));
      });
  if (!is_bearer) return false;
  bool is_known = false;
  for (const std::string& key : keys) {
    is_known |= equals_in_constant_time(key, authorization.substr(kScheme.size()));
  }
  return is_known;
}

}  // namespace tessera
