package org.edgeinfer.restyle;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;

/**
 * The model multistyle26: restyles pictures of the size that it was exported for.
 *
 * <p>Not for several threads at once; close it to end its own threads.
 */
public final class StyleModel implements AutoCloseable {
    static {
        System.loadLibrary("style_model");
    }

    private long handle;

    /** Opens the model with a number of threads, the caller's among them. */
    public StyleModel(int threads) {
        handle = open(threads);
    }

    /** A buffer that the model can read and write. */
    public static FloatBuffer buffer(int floats) {
        return ByteBuffer.allocateDirect(4 * floats).order(ByteOrder.nativeOrder()).asFloatBuffer();
    }

    /**
     * Restyles a picture.
     *
     * @param image planes of red, green and blue from 0 to 1, made by {@link #buffer}
     * @param weights a weight for each of the 26 styles; they should add up to 1
     * @param result where the picture goes, like image
     */
    public void run(FloatBuffer image, FloatBuffer weights, FloatBuffer result) {
        run(handle, image, weights, result);
    }

    @Override
    public void close() {
        long open = handle;
        handle = 0;
        close(open);
    }

    private static native long open(int threads);

    private static native void run(long handle, FloatBuffer image, FloatBuffer weights, FloatBuffer result);

    private static native void close(long handle);
}
