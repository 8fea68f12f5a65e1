// A model of random weights and its texts, for the test programs. Every array is its own allocation of exactly its
// size, so that the address sanitizer sees a step past any of them.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "instructor_kernels.h"

struct RandomModel {
    ik_config config{};
    std::vector<std::vector<int8_t>> weights;
    std::vector<std::vector<float>> floats;
    std::vector<std::vector<uint16_t>> scales;
    std::vector<ik_tensor> tensors;

    RandomModel(const ik_config& chosen, std::mt19937& random) : config(chosen), random_(random) {
        const int64_t d = config.d_model, inner = int64_t{config.num_heads} * config.d_kv;
        if (config.weight_type == IK_FP32) {
            reals(config.vocab_size * d, -2, 2);
        } else {
            weight(config.vocab_size * d);
            reals(config.vocab_size, 0.001f, 0.02f);
        }
        reals(config.num_heads * (2 * int64_t{config.max_distance} + 1), -3, 3);
        reals(d, 0.1f, 1);
        if (config.dense) reals(d * config.embedding_dim, -0.2f, 0.2f);
        for (int32_t layer = 0; layer < config.num_layers; ++layer) {
            reals(d, 0.1f, 1);
            product(d, 3 * inner);
            product(inner, d);
            reals(d, 0.1f, 1);
            for (int i = 0; i < 1 + config.gated; ++i) product(d, config.d_ff);
            product(config.d_ff, d);
        }
    }

private:
    void product(int64_t k, int64_t n) {
        if (config.weight_type == IK_FP32) return reals(k * n, -0.2f, 0.2f);
        if (config.weight_type == IK_INT8) {
            weight(k * n);
            reals(n, 0.0005f, 0.003f);
            return;
        }
        const int64_t block_size = int64_t{16} << std::uniform_int_distribution<int>(0, 4)(random_);
        const int64_t blocks = (k + block_size - 1) / block_size;
        weight(n * blocks * block_size / 2);
        std::uniform_int_distribution<int> halves(0x1000, 0x2400);  // float16 from 0.0005 to 0.016
        scales.emplace_back(n * blocks);
        for (uint16_t& scale : scales.back()) scale = static_cast<uint16_t>(halves(random_) | (random_() & 0x8000));
        tensors.push_back({scales.back().data(), n * blocks * 2, 0});
    }
    void weight(int64_t count) {
        std::uniform_int_distribution<int> values(-128, 127);
        weights.emplace_back(count);
        for (int8_t& value : weights.back()) value = static_cast<int8_t>(values(random_));
        tensors.push_back({weights.back().data(), count, 0});
    }
    void reals(int64_t count, float low, float high) {
        std::uniform_real_distribution<float> values(low, high);
        floats.emplace_back(count);
        for (float& value : floats.back()) value = values(random_);
        tensors.push_back({floats.back().data(), count * static_cast<int64_t>(sizeof(float)), 0});
    }

    std::mt19937& random_;
};

struct RandomTexts {
    std::vector<int32_t> ids;
    std::vector<int64_t> offsets{0}, starts;

    RandomTexts(const std::vector<int64_t>& lengths, int32_t vocab_size, std::mt19937& random) {
        std::uniform_int_distribution<int32_t> id(0, vocab_size - 1);
        for (int64_t length : lengths) {
            for (int64_t i = 0; i < length; ++i) ids.push_back(id(random));
            offsets.push_back(static_cast<int64_t>(ids.size()));
            starts.push_back(std::uniform_int_distribution<int64_t>(0, length + 1)(random));
        }
    }

    int64_t count() const { return static_cast<int64_t>(starts.size()); }
    ik_tokens view() const {
        return {ids.data(), static_cast<int64_t>(ids.size()), offsets.data(), starts.data(), count()};
    }
};
