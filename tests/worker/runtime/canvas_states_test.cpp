#include "worker/runtime/canvas_states.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/backend_registry.h"
#include "tests/support/error_matchers.h"

namespace tessera {
namespace {

using ::testing::ElementsAre;

SequenceSpan canvas(RequestId request, Position first, bool conditioned) {
  SequenceSpan sequence{request, {}};
  sequence.span.first = first;
  sequence.span.tokens = {1, 2, 3};
  sequence.span.self_conditioning = conditioned;
  return sequence;
}

std::vector<std::int64_t> rows_of(const CanvasStates& states, const SequenceSpan& sequence) {
  std::vector<std::int64_t> rows;
  states.add_rows(sequence, rows);
  return rows;
}

TEST(CanvasStatesTest, ACanvasIsConditionedOnItsOwnRowsOrOnZeros) {
  const auto backend = kernels::create_backend("reference", {});
  CanvasStates states(/*max_sequences=*/2, /*canvas_length=*/3, /*hidden_size=*/4, *backend);
  EXPECT_THAT(rows_of(states, canvas(7, 10, false)), ElementsAre(6, 6, 6));
  EXPECT_EQ(static_cast<const float*>(states.table().row(6))[3], 0.0F);
  const MatrixView seven = states.begin(7, 10);
  const MatrixView nine = states.begin(9, 2);
  EXPECT_EQ(states.begin(7, 10).data, seven.data);
  EXPECT_EQ(states.table().row(rows_of(states, canvas(7, 10, true))[0]), seven.data);
  EXPECT_EQ(states.table().row(rows_of(states, canvas(9, 2, true))[2]), nine.row(2));
  EXPECT_THAT(rows_of(states, canvas(9, 2, false)), ElementsAre(6, 6, 6)) << "it begins again";
}

TEST(CanvasStatesTest, WhatIsNotKeptIsAnError) {
  const auto backend = kernels::create_backend("reference", {});
  CanvasStates states(2, 3, 4, *backend);
  EXPECT_ERROR(rows_of(states, canvas(7, 10, true)), kInternal);
  states.begin(7, 10);
  EXPECT_ERROR(rows_of(states, canvas(7, 13, true)), kInternal);  // another canvas
  const RequestId released[] = {7, 8};
  states.release(released);
  EXPECT_ERROR(rows_of(states, canvas(7, 10, true)), kInternal);
  states.begin(1, 0);
  states.begin(2, 0);
  EXPECT_ERROR(states.begin(3, 0), kInternal);  // more than the rank is configured for
}

}  // namespace
}  // namespace tessera
