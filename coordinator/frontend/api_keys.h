#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

/// One key per line; blank lines and lines that begin with # are skipped.
/// @throws Error{kInvalidArgument} if the file cannot be read or holds no key.
std::vector<std::string> load_api_keys(const std::filesystem::path& file);

/// Whether "Bearer <key>" carries one of the keys. Takes the same time whatever part of a key is
/// right, and tries all keys.
bool is_authorized(const std::vector<std::string>& keys, std::string_view authorization);

}  // namespace tessera
