#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "coordinator/scheduling/engine.h"
#include "tests/support/golden_file.h"

namespace tessera {

/// Files of goldens that were decoded with trained models, sorted.
std::vector<std::string> trained_golden_files();

/// Name of the test of a file.
std::string trained_golden_name(const ::testing::TestParamInfo<std::string>& tested);

/// Requests of a file, spread evenly; with TESSERA_ALL_GOLDENS=1 all (tests/golden/README.md).
std::vector<Golden> selected_trained_goldens(const std::string& file);

SequenceRequest request_of(const Golden& golden, RequestId id);

/// Sets of goldens may hold families that this build does not have.
bool is_known_family(const std::string& model_dir);

}  // namespace tessera
