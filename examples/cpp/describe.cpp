// Shows what a bundle takes and gives, and how long it runs: describe [THREADS]
#include "multistyle26.h"

#include "model.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>

namespace {

std::size_t count_floats(const edgeinfer_tensor &tensor) {
    return static_cast<std::size_t>(tensor.bytes) / sizeof(float);
}

void print(const char *kind, const edgeinfer_tensor &tensor) {
    std::printf("%s %s:", kind, tensor.name);
    for (int axis = 0; axis < tensor.rank; axis++)
        std::printf(" %lld", static_cast<long long>(tensor.shape[axis]));
    std::printf("\n");
}

}  // namespace

int main(int count, char **arguments) {
    try {
        edgeinfer::Model model(EDGEINFER_FUNCTIONS(multistyle26), count > 1 ? std::atoi(arguments[1]) : 1);
        print("input", model.input(0));
        print("input", model.input(1));
        print("output", model.output(0));
        std::vector<float> image(count_floats(model.input(0)), 0.5f), style(count_floats(model.input(1)), 0.0f);
        std::vector<float> result(count_floats(model.output(0)));
        style[19] = 1.0f;
        model.run({image.data(), style.data()}, {result.data()});
        const auto start = std::chrono::steady_clock::now();
        model.run({image.data(), style.data()}, {result.data()});
        const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
        double sum = 0;
        for (float value : result)
            sum += value;
        std::printf("mean %.6f\n", sum / static_cast<double>(result.size()));
        std::fprintf(stderr, "%.1f ms\n", time.count());
    } catch (const std::exception &error) {
        std::fprintf(stderr, "describe: %s\n", error.what());
        return 1;
    }
    return 0;
}
