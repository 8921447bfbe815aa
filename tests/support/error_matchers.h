#pragma once

#include <gtest/gtest.h>

#include "common/base/error.h"

/// Passes if `statement` throws Error with exactly this code.
#define EXPECT_ERROR(statement, expected_code)                                    \
  try {                                                                           \
    statement;                                                                    \
    ADD_FAILURE() << #statement " did not throw";                                 \
  } catch (const ::tessera::Error& error) {                                       \
    EXPECT_EQ(error.code(), ::tessera::ErrorCode::expected_code) << error.what(); \
  }
