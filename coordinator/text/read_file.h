#pragma once

#include <filesystem>
#include <string>

namespace tessera {

/// Content of a file. @throws Error{kInvalidArgument} naming the path if it cannot be read.
std::string read_file(const std::filesystem::path& path);

}  // namespace tessera
