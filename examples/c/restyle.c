/* Restyles a picture: restyle IN.ppm OUT.ppm STYLE [THREADS]
 *
 * The picture is a binary PPM (P6) of the size that the bundle was exported for; STYLE is a number from 0 to 25.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edgeinfer_threads.h"
#include "multistyle26.h"

static const int64_t image_shape[] = MULTISTYLE26_INPUT_0_SHAPE; /* 1 x 3 x height x width, values from 0 to 1 */
static const int64_t style_shape[] = MULTISTYLE26_INPUT_1_SHAPE; /* one weight for each style */

/* Reads the next number of a PPM header; comments go from # to the end of the line. */
static int read_number(FILE *file) {
    int character = fgetc(file), value = 0;
    for (; character == '#' || isspace(character); character = fgetc(file))
        if (character == '#')
            while (character != '\n' && character != EOF)
                character = fgetc(file);
    if (character < '0' || character > '9')
        return -1;
    for (; character >= '0' && character <= '9' && value < 1000000; character = fgetc(file))
        value = 10 * value + (character - '0');
    return value;
}

/* Reads a picture into planes of red, green and blue; returns what is wrong, or null. */
static const char *read_picture(const char *path, float *image, int height, int width) {
    FILE *file = fopen(path, "rb");
    if (!file)
        return "cannot be opened";
    const char *problem = 0;
    char magic[2];
    if (fread(magic, 1, 2, file) != 2 || memcmp(magic, "P6", 2))
        problem = "is no binary PPM (P6)";
    else if (read_number(file) != width || read_number(file) != height)
        problem = "has another size than the model was exported for";
    else if (read_number(file) != 255)
        problem = "has not 255 as its largest value";
    for (int pixel = 0; !problem && pixel < height * width; pixel++)
        for (int channel = 0; !problem && channel < 3; channel++) {
            int value = fgetc(file);
            if (value == EOF)
                problem = "is cut short";
            image[channel * height * width + pixel] = (float)value / 255.0f;
        }
    fclose(file);
    return problem;
}

static const char *write_picture(const char *path, const float *image, int height, int width) {
    FILE *file = fopen(path, "wb");
    if (!file)
        return "cannot be opened";
    fprintf(file, "P6\n%d %d\n255\n", width, height);
    for (int pixel = 0; pixel < height * width; pixel++)
        for (int channel = 0; channel < 3; channel++) {
            float value = image[channel * height * width + pixel];
            value = value < 0.0f ? 0.0f : value > 1.0f ? 1.0f : value;
            fputc((int)(value * 255.0f + 0.5f), file);
        }
    int failed = ferror(file);
    return fclose(file) || failed ? "cannot be written" : 0;
}

static int fail(const char *what, const char *problem) {
    fprintf(stderr, "restyle: %s %s\n", what, problem);
    return 1;
}

int main(int count, char **arguments) {
    if (count < 4 || count > 5)
        return fail("usage:", "restyle IN.ppm OUT.ppm STYLE [THREADS]");
    int style = atoi(arguments[3]), threads = count == 5 ? atoi(arguments[4]) : 1;
    int height = (int)image_shape[2], width = (int)image_shape[3];
    if (style < 0 || style >= style_shape[0])
        return fail(arguments[3], "is no style");

    size_t size = multistyle26_memory_size(threads);
    void *memory = malloc(size ? size : 1);
    float *image = malloc(MULTISTYLE26_INPUT_0_BYTES), *result = malloc(MULTISTYLE26_OUTPUT_0_BYTES);
    float *weights = calloc(1, MULTISTYLE26_INPUT_1_BYTES);
    if (!memory || !image || !result || !weights)
        return fail("not enough", "memory");
    const char *problem = read_picture(arguments[1], image, height, width);
    if (problem)
        return fail(arguments[1], problem);
    weights[style] = 1.0f;

    int status = multistyle26_init(memory, size, threads);
    if (status == EDGEINFER_THREADS)
        return fail(arguments[4], "is no number of threads");
    if (status == EDGEINFER_CPU)
        return fail("this CPU", "lacks instructions that the model was compiled for");
    static edgeinfer_threads workers;
    if (status || edgeinfer_threads_start(&workers, multistyle26_work, multistyle26_stop, memory, threads))
        return fail("the model", "cannot be started");
    const void *inputs[] = {image, weights};
    void *outputs[] = {result};
    status = multistyle26_run(memory, inputs, outputs);
    edgeinfer_threads_stop(&workers, multistyle26_stop, memory);
    problem = status ? "cannot be computed" : write_picture(arguments[2], result, height, width);
    free(memory), free(image), free(result), free(weights);
    return problem ? fail(arguments[2], problem) : 0;
}
